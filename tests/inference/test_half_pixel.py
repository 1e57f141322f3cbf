"""Nothing on the way of a box may lose half a pixel: resize, warp, assignment, encoding, decoding, and the way back.

A bright rectangle with known sides goes through the product's own path. Its sides are measured in the network input
from the pixels and compared with where the geometry says they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from network_pieces import ANCHORS, encode, targets_of, tiny

from data.augment import Augment, place
from data.detection import Sample
from data.resize import Geometry, fit, resize
from data.settings import AugmentSettings
from data.warp import make_warp
from detector.inference.decode import select
from detector.inference.detections import Detections
from detector.inference.predictor import Predictor
from detector.inference.pytorch import TorchBackend
from detector.network.yolov3.assignment import positives
from detector.network.yolov3.boxes import Coder, make_grid

DARK, BRIGHT = 16, 236
SOFT = 4.0  # a side is a ramp this many px to either side of it, so that no resize samples it too coarsely
NOTHING = AugmentSettings(crop=0, rotation=0, flip=0, hue=0, saturation=0, value=0)
STRIDES = (8, 16, 32)

SOURCES = [(375, 1242), (370, 1224), (376, 1241), (374, 1238), (720, 1280)]
INPUTS = [(256, 832), (192, 640), (448, 448), (384, 1248)]
BOXES = [(600.0, 150.0, 720.0, 230.0), (101.3, 171.6, 178.85, 240.1), (999.5, 60.25, 1180.75, 331.5)]
POLICIES = ["stretch", "letterbox"]
NO_BOXES = np.zeros((0, 4), np.float32)


def drawn(box: Sequence[float], hw: tuple[int, int]) -> np.ndarray:
    """uint8 [h, w, 3]: dark, with a bright rectangle; pixel i reaches from i to i + 1."""
    x1, y1, x2, y2 = box
    y, x = (np.arange(side) + 0.5 for side in hw)
    cover_x, cover_y = (
        np.clip((at - low) / SOFT / 2 + 0.5, 0, 1) * np.clip((high - at) / SOFT / 2 + 0.5, 0, 1)
        for at, low, high in ((x, x1, x2), (y, y1, y2))
    )
    grey = DARK + (BRIGHT - DARK) * cover_y[:, None] * cover_x
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, -1)


def measured(image: np.ndarray, around: Sequence[float]) -> np.ndarray:
    """Sides x1 y1 x2 y2 of the bright rectangle inside the box `around`, which shows nothing else but darkness."""
    left, top = (int(np.floor(v)) for v in around[:2])
    right, bottom = (int(np.ceil(v)) for v in around[2:])
    light = image[top:bottom, left:right, 0].astype(float) - DARK
    height, width = light.shape
    x1, x2 = _sides(light[height * 2 // 5 : max(height * 3 // 5, height * 2 // 5 + 1)].mean(0))
    y1, y2 = _sides(light[:, width * 2 // 5 : max(width * 3 // 5, width * 2 // 5 + 1)].mean(1))
    return np.array([left + x1, top + y1, left + x2, top + y2])


def _sides(profile: np.ndarray) -> tuple[float, float]:
    """Where a step of full height with the same light would begin and end."""
    middle, full = len(profile) // 2, BRIGHT - DARK
    return middle - profile[:middle].sum() / full, middle + profile[middle:].sum() / full


def grown(box: Sequence[float]) -> np.ndarray:
    """The box [4] with the whole of its soft sides, and a pixel."""
    return np.array(box) + np.array([-1, -1, 1, 1]) * (SOFT + 1)


def moved(box: Sequence[float], whole: Sequence[float], to: Sequence[float], flip: bool = False) -> np.ndarray:
    """Where `box` lands when the box `whole`, around it, lands at `to`."""
    sides = np.array(box).reshape(2, 2)
    low, high = np.array(whole).reshape(2, 2)
    share = (sides - low) / (high - low)
    if flip:
        share[:, 0] = 1 - share[::-1, 0]
    start, stop = np.array(to).reshape(2, 2)
    return (start + share * (stop - start)).ravel()


def sample_of(box: Sequence[float], hw: tuple[int, int]) -> Sample:
    """A frame with the rectangle; its object is the rectangle with its soft sides."""
    return Sample(drawn(box, hw), np.float32([grown(box)]), np.array([0]), NO_BOXES, "a")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", INPUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_resize_puts_the_pixels_where_the_geometry_puts_the_boxes(
    source: tuple[int, int], size: tuple[int, int], policy: str
) -> None:
    geometry = fit(source, size, policy)
    for box in BOXES:
        seen = measured(resize(drawn(box, source), geometry), geometry.apply(grown(box)))
        assert seen == pytest.approx(geometry.apply(np.array(box)), abs=0.05)
        assert geometry.invert(seen) == pytest.approx(np.array(box), abs=0.15)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_reduced_copy_of_the_frame_is_placed_as_exactly(source: tuple[int, int], policy: str) -> None:
    """A cache may keep frames at a part of their size, whatever that rounds to."""
    here = fit(source, (source[0] * 2 // 3, source[1] * 2 // 3), "stretch")
    for box in BOXES:
        whole = np.float32([grown(box)])
        small = Sample(resize(drawn(box, source), here), here.apply(whole), np.array([0]), NO_BOXES, "a", source)
        placed = place(small, policy, np.empty((256, 832, 3), np.uint8))
        wanted = fit(source, (256, 832), policy).apply(np.array(box))
        assert measured(placed.image, placed.boxes[0]) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", INPUTS)
def test_the_warp_puts_the_pixels_where_it_puts_the_boxes(size: tuple[int, int], policy: str, flip: bool) -> None:
    for source in SOURCES:
        for box in BOXES:
            x1, y1, x2, y2 = grown(box)
            crop = (int(x1) - 43, int(y1) - 8, int(x2) + 50, int(y2) + 22)
            for window in ((0, 0, source[1], source[0]), crop):
                warp = make_warp(window, size, policy, flip=flip)
                image = np.empty((*size, 3), np.uint8)
                warp.image(drawn(box, source), image)
                (around,) = warp.objects(np.array([grown(box)]))
                (wanted,) = warp.objects(np.array([box]))
                assert measured(image, around) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_warp_that_changes_nothing_is_the_resize_and_a_flip_keeps_the_picture_in_place(policy: str) -> None:
    for source in SOURCES:
        whole = (0, 0, source[1], source[0])
        straight, flipped = (make_warp(whole, (256, 832), policy, flip=flip) for flip in (False, True))
        geometry, boxes = fit(source, (256, 832), policy), np.array(BOXES)
        assert straight.objects(boxes) == pytest.approx(geometry.apply(boxes), abs=1e-3)
        assert flipped.objects(np.array([whole])) == pytest.approx(np.array([geometry.content]), abs=1e-3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("change", ["none", "crop", "mosaic"])
def test_training_frames_show_the_rectangle_where_their_boxes_are(policy: str, flip: float, change: str) -> None:
    settings = NOTHING.model_copy(update={"flip": flip, "min_visible": 1 - 1e-6, change: 1.0})
    augment, found = Augment(settings, policy), 0
    for seed in range(12):
        box = BOXES[seed % len(BOXES)]
        sample = sample_of(box, SOURCES[seed % 2])
        out = np.empty((256, 832, 3), np.uint8)
        placed = augment(sample, np.random.default_rng(seed), partial(sample_of, box, SOURCES[0]), out)
        for around in placed.boxes:
            wanted = moved(box, grown(box), around, flip=flip > 0)
            assert measured(placed.image, around) == pytest.approx(wanted, abs=0.1)
            found += 1
    assert found >= 8


@pytest.mark.parametrize(("rule", "xy_scale"), [("best", 1.0), ("neighbours", 2.0)])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", INPUTS)
def test_what_a_perfect_head_says_becomes_the_box_again(
    size: tuple[int, int], policy: str, rule: str, xy_scale: float
) -> None:
    """Assignment, encoding, decoding, the inverse of the resize. The cell holds the centre, or lies next to it."""
    sizes = [(size[0] // stride, size[1] // stride) for stride in STRIDES]
    grid, coder = make_grid(sizes, ANCHORS.double(), STRIDES), Coder(xy_scale)
    for source in SOURCES:
        geometry = fit(source, size, policy)
        boxes = geometry.apply(np.array(BOXES))
        targets = targets_of([(0, 0, *box) for box in boxes], dtype=torch.float64)
        _, index, row = positives(targets, ANCHORS.double(), sizes, STRIDES, rule, 4.0)
        assert set(row.tolist()) == {0, 1, 2}
        at, wanted = grid.take(index), targets.boxes[row]
        offset = (wanted[:, :2] + wanted[:, 2:]) / 2 / at.strides - at.cells
        reach = (xy_scale - 1) / 2
        assert ((offset >= -reach) & (offset <= 1 + reach)).all()
        decoded = coder.decode(encode(coder, wanted, at), at).numpy()
        assert np.abs(geometry.invert(decoded) - np.array(BOXES)[row.numpy()]).max() < 1e-3


class Seeing(TorchBackend):
    """A perfect network: it measures the rectangle in its input and says so at the rectangle's place."""

    def __init__(self, policy: str, size: tuple[int, int], exported: bool) -> None:
        super().__init__(tiny(coder=Coder(2.0)), ("Car", "Van", "Truck"), policy, size, "cpu", "fp32")
        self.exported = exported
        self.around: np.ndarray = np.zeros(4)  # where to look, px of the input

    def run(self, images: np.ndarray) -> list[torch.Tensor]:
        sizes = [(self.size[0] // stride, self.size[1] // stride) for stride in STRIDES]
        box = measured(images[0], self.around)
        _, index, _ = positives(targets_of([(0, 0, *box)]), ANCHORS, sizes, STRIDES, "best", 4.0)
        grid = make_grid(sizes, ANCHORS, STRIDES)
        flat = torch.full((len(grid.cells), 8), -20.0)
        flat[index, :4] = exact(box, grid.cells[index], grid.anchors[index], grid.strides[index])
        flat[index, 4:6] = 20.0
        levels = flat.split([3 * h * w for h, w in sizes])
        return [level.view(1, h, w, 24).permute(0, 3, 1, 2) for level, (h, w) in zip(levels, sizes, strict=True)]

    def finish(
        self, outputs: list[torch.Tensor], geometries: Sequence[Geometry], conf: float, iou: float
    ) -> list[Detections]:
        if not self.exported:
            return super().finish(outputs, geometries, conf, iou)
        boxes, scores = self.network.decode(outputs)
        return select(boxes.numpy(), scores.numpy(), geometries, conf, iou)


def exact(box: np.ndarray, cell: torch.Tensor, anchor: torch.Tensor, stride: torch.Tensor) -> torch.Tensor:
    """tx ty tw th by Redmon's formulas with xy_scale 2, not by the product's coder."""
    sides = torch.tensor(box).view(2, 2)
    share = (sides.mean(0) / stride - cell + 0.5) / 2
    return torch.cat((share.logit(), ((sides[1] - sides[0]) / anchor).log()), -1).float()


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", INPUTS)
def test_a_network_that_sees_exactly_gives_the_drawn_box(size: tuple[int, int], policy: str, exported: bool) -> None:
    backend = Seeing(policy, size, exported)
    predictor = Predictor(backend)
    for source in SOURCES:
        for box in BOXES:
            backend.around = fit(source, size, policy).apply(grown(box))
            (found,) = predictor.predict([drawn(box, source)])
            assert found.boxes.shape == (1, 4)
            assert found.boxes[0] == pytest.approx(np.array(box), abs=0.15)
