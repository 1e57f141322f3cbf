from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_dataset import make_dataset

from data.augment import Augment, Placed, crop_window, place
from data.detection import Sample
from data.overlays import main as overlays
from data.resize import PADDING, fit
from data.settings import AugmentSettings
from data.warp import make_warp, random_colour

NOTHING = AugmentSettings(crop=0, rotation=0, flip=0, hue=0, saturation=0, value=0)


def a_sample(
    boxes: list[list[float]], ignore: list[list[float]], hw: tuple[int, int] = (90, 300), seed: int = 0
) -> Sample:
    image = np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(image, array, np.arange(len(array)), np.array(ignore, np.float32).reshape(-1, 4), f"{seed:06d}")


def augmented(
    sample: Sample, changes: AugmentSettings, size: tuple[int, int] = (64, 64), policy: str = "stretch", seed: int = 0
) -> Placed:
    out = np.full((*size, 3), 255, np.uint8)
    other = a_sample([[5, 5, 60, 60]], [[100, 10, 150, 80]], seed=99)
    return Augment(changes, policy)(sample, np.random.default_rng(seed), lambda: other, out)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    height, width = draw(st.integers(8, 120)), draw(st.integers(8, 400))
    corner = st.tuples(st.floats(0, 0.96875, width=32), st.floats(0.0009765625, 1, width=32))

    def boxes() -> list[list[float]]:
        found = []
        for (x, dx), (y, dy) in draw(st.lists(st.tuples(corner, corner), max_size=6)):
            found.append([x * width, y * height, min(1, x + dx) * width, min(1, y + dy) * height])
        return found

    return a_sample(boxes(), boxes(), (height, width), draw(st.integers(0, 3)))


share = st.sampled_from([0.0, 0.5, 1.0])


@given(
    sample=samples(),
    crop=share,
    min_area=st.floats(0.05, 1),
    min_visible=st.floats(0, 1),
    rotation=st.sampled_from([0, 3, 45]),
    flip=share,
    colour=share,
    mosaic=share,
    mixup=share,
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    policy=st.sampled_from(["stretch", "letterbox"]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_boxes_stay_inside_none_is_degenerate_and_the_same_seed_gives_the_same_bytes(
    sample: Sample, crop: float, min_area: float, min_visible: float, rotation: float, flip: float,
    colour: float, mosaic: float, mixup: float, size: tuple[int, int], policy: str, seed: int,
) -> None:  # fmt: skip
    changes = AugmentSettings(
        crop=crop, crop_min_area=min_area, min_visible=min_visible, rotation=rotation, flip=flip,
        hue=colour / 2, saturation=colour, value=colour, mosaic=mosaic, mixup=mixup,
    )  # fmt: skip
    size = (size[0] * 32, size[1] * 32)
    before = sample.image.copy()
    placed = augmented(sample, changes, size, policy, seed)
    assert placed.image.shape == (*size, 3)
    assert len(placed.boxes) == len(placed.labels)
    for boxes in (placed.boxes, placed.ignore):
        assert boxes.dtype == np.float32
        assert boxes.shape[1:] == (4,)
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= [size[1], size[0]]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 0.99).all()  # one pixel, less what float32 loses when a mosaic moves it
    if not mosaic and not mixup:
        assert np.isin(placed.labels, sample.labels).all()
        assert len(placed.boxes) + len(placed.ignore) <= len(sample.boxes) + len(sample.ignore)
    assert (sample.image == before).all()
    again = augmented(sample, changes, size, policy, seed)
    for name in ("image", "boxes", "labels", "ignore"):
        assert np.array_equal(getattr(placed, name), getattr(again, name))


@pytest.mark.parametrize("policy", ["stretch", "letterbox"])
def test_with_every_strength_at_zero_training_sees_what_validation_sees(policy: str) -> None:
    image = cv2.GaussianBlur(a_sample([], []).image, (0, 0), 3)
    sample = Sample(image, np.float32([[30, 30, 90, 60]]), np.array([2]), np.float32([[200, 10, 240, 20]]), "a")
    plain = place(sample, policy, np.empty((96, 128, 3), np.uint8))
    changed = augmented(sample, NOTHING, (96, 128), policy)
    assert np.abs(changed.image.astype(int) - plain.image).max() <= 3  # a warp rounds positions to 1/32 pixel
    assert np.allclose(changed.boxes, plain.boxes, atol=1e-3)
    assert np.allclose(changed.ignore, plain.ignore, atol=1e-3)
    assert changed.labels.tolist() == plain.labels.tolist()


def test_validation_geometry_by_hand() -> None:
    sample = a_sample([[30, 30, 90, 60]], [[-10, 10, 40, 20]], (100, 200))
    placed = place(sample, "letterbox", np.empty((64, 64, 3), np.uint8))
    assert placed.geometry == fit((100, 200), (64, 64), "letterbox")
    assert np.allclose(placed.boxes, [[9.6, 25.6, 28.8, 35.2]])
    assert np.allclose(placed.ignore, [[0, 19.2, 12.8, 22.4]])


def test_a_reduced_copy_is_placed_as_its_original() -> None:
    full = a_sample([[30, 30, 90, 60]], [], (100, 200))
    half = Sample(full.image[::2, ::2], full.boxes / 2, full.labels, full.ignore, "a", (100, 200))
    one, two = (place(sample, "letterbox", np.empty((64, 64, 3), np.uint8)) for sample in (full, half))
    assert one.geometry == two.geometry
    assert np.allclose(one.boxes, two.boxes)


def test_a_flip_mirrors_pixels_boxes_and_ignore_regions() -> None:
    sample = a_sample([[30, 30, 90, 60]], [[200, 10, 240, 20]], (64, 320))
    settings = NOTHING.model_copy(update={"flip": 1.0})
    straight, flipped = augmented(sample, NOTHING, (64, 320)), augmented(sample, settings, (64, 320))
    assert (flipped.image == straight.image[:, ::-1]).all()
    assert np.allclose(flipped.boxes, [[230, 30, 290, 60]], atol=1e-3)
    assert np.allclose(flipped.ignore, [[80, 10, 120, 20]], atol=1e-3)


def test_a_lit_object_stays_in_its_box_under_rotation() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.ellipse(image, (120, 80), (50, 25), 0, 0, 360, (255, 255, 255), -1)
    sample = Sample(image, np.float32([[70, 55, 170.5, 105.5]]), np.array([0]), np.zeros((0, 4), np.float32), "a")
    for seed in range(5):
        settings = NOTHING.model_copy(update={"rotation": 20.0})
        placed = augmented(sample, settings, (192, 288), seed=seed)
        ys, xs = np.nonzero(placed.image[..., 0] > PADDING + 20)
        assert placed.boxes[0] == pytest.approx([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], abs=2)


def test_an_ignored_region_still_covers_its_corners_after_rotation() -> None:
    warp = make_warp((0, 0, 300, 200), (192, 288), "stretch", degrees=20)
    box = np.float32([[70, 55, 170, 105]])
    corners = np.array([[70, 55], [170, 55], [70, 105], [170, 105]]) @ warp.matrix[:, :2].T + warp.matrix[:, 2]
    assert np.allclose(warp.regions(box), [[*corners.min(axis=0), *corners.max(axis=0)]], atol=1e-4)
    inner = warp.objects(box)[0]
    assert (inner[:2] > corners.min(axis=0)).all()
    assert (inner[2:] < corners.max(axis=0)).all()


def test_rotation_is_about_the_windows_centre_by_the_angle_told() -> None:
    warp = make_warp((0, 0, 100, 100), (100, 100), "stretch", degrees=90)
    assert np.allclose(warp.matrix @ [50, 50, 1], [50, 50])
    assert np.allclose(warp.matrix @ [100, 50, 1], [50, 100])


@pytest.mark.parametrize(("visible", "becomes"), [(0.4, "object"), (0.2, "ignore"), (0.0, "nothing")])
def test_an_object_cut_too_far_becomes_a_region_to_ignore(visible: float, becomes: str) -> None:
    """The window shows x 0..100 of the image at scale 1; the object is 50 px wide."""
    left = 100 - 50 * visible
    sample = a_sample([[left, 20, left + 50, 60]], [[90, 0, 130, 10]], (100, 300))
    settings = NOTHING.model_copy(update={"min_visible": 0.3})
    out = np.empty((100, 100, 3), np.uint8)
    placed = Augment(settings, "stretch")._one(sample, (0, 0, 100, 100), "stretch", np.random.default_rng(0), out)
    seen = [[left, 20, 100, 60]]
    assert placed.boxes.round(3).tolist() == (seen if becomes == "object" else [])
    assert placed.ignore.round(3).tolist() == [[90, 0, 100, 10], *(seen if becomes == "ignore" else [])]


@given(samples(), st.floats(0.05, 1), st.integers(0, 2**32))
def test_a_crop_holds_one_whole_object_and_its_share_of_the_area(sample: Sample, min_area: float, seed: int) -> None:
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = crop_window(sample.boxes, (height, width), min_area, np.random.default_rng(seed))
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert (x2 - x1) * (y2 - y1) >= min_area * height * width * 0.999
    inside = (sample.boxes >= [x1, y1] * 2).all(axis=1) & (sample.boxes <= [x2, y2] * 2).all(axis=1)
    assert inside.any() or not len(sample.boxes)


def test_colour_changes_keep_greys_grey_and_follow_their_strength() -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    red = np.full((2, 2, 3), (180, 60, 60), np.uint8)
    rng = np.random.default_rng(0)
    assert random_colour(NOTHING, rng) is None
    for _ in range(20):
        matrix = random_colour(AugmentSettings(hue=0.5, saturation=1, value=0), rng)
        assert np.abs(cv2.transform(grey, matrix).astype(int) - 100).max() <= 1
        matrix = random_colour(AugmentSettings(hue=0, saturation=0, value=0.5), rng)
        assert np.allclose(matrix[:, :3] / matrix[0, 0], np.eye(3), atol=1e-3)
        assert 0.5 <= matrix[0, 0] <= 1.5
        matrix = random_colour(AugmentSettings(hue=0, saturation=0.5, value=0), rng)
        luma = 0.299 * 180 + 0.587 * 60 + 0.114 * 60
        changed = cv2.transform(red, matrix)[0, 0].astype(float)
        assert changed @ [0.299, 0.587, 0.114] == pytest.approx(luma, abs=1)
        assert 0.5 * 120 - 2 <= changed[0] - changed[1] <= 1.5 * 120 + 2


def test_hue_turns_by_its_share_of_the_colour_circle() -> None:
    class Largest(np.random.Generator):
        def uniform(self, low: float = 0, high: float = 1, size: None = None) -> float:  # type: ignore[override]
            return high

    matrix = random_colour(AugmentSettings(hue=1 / 3, saturation=0, value=0), Largest(np.random.PCG64(0)))
    turned = matrix[:, :3] @ np.array([0.6, 0.4, 0.4]) - 0.4  # a red, its grey taken away
    hue = math.atan2(*(np.array([[0.211, -0.523, 0.312], [0.596, -0.274, -0.322]]) @ turned))
    red = math.atan2(0.211, 0.596)
    assert (hue - red) % (2 * math.pi) == pytest.approx(2 * math.pi / 3, abs=1e-3)


def test_a_mosaic_shows_four_frames_and_their_objects_where_they_are_drawn() -> None:
    colours = iter([(0, 255, 0), (0, 0, 255), (255, 255, 0)])

    def one_colour(colour: tuple[int, int, int]) -> Sample:
        image = np.full((100, 300, 3), colour, np.uint8)
        return Sample(image, np.float32([[0, 0, 300, 100]]), np.array([0]), np.zeros((0, 4), np.float32), "a")

    settings = NOTHING.model_copy(update={"mosaic": 1.0, "min_visible": 0.0})
    out = np.empty((128, 128, 3), np.uint8)
    augment = Augment(settings, "stretch")
    placed = augment(one_colour((255, 0, 0)), np.random.default_rng(5), lambda: one_colour(next(colours)), out)
    assert len(placed.boxes) == 4
    assert (placed.boxes[:, 2:] - placed.boxes[:, :2]).prod(axis=1).sum() == pytest.approx(128 * 128)
    for x1, y1, x2, y2 in placed.boxes.astype(int):
        assert len(np.unique(out[y1:y2, x1:x2].reshape(-1, 3), axis=0)) == 1


def test_mixup_blends_two_frames_and_keeps_the_objects_of_both() -> None:
    black, none = np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32)
    dark = Sample(black, np.float32([[1, 1, 9, 9]]), np.array([3]), none, "a")
    light = Sample(black + np.uint8(200), np.float32([[20, 20, 40, 40]]), np.array([5]), none, "b")
    settings = NOTHING.model_copy(update={"mixup": 1.0})
    out = np.empty((64, 64, 3), np.uint8)
    placed = Augment(settings, "stretch")(dark, np.random.default_rng(0), lambda: light, out)
    assert placed.labels.tolist() == [3, 5]
    assert placed.frame == "a"
    assert 20 < out.mean() < 180
    assert out.min() == out.max()


def test_a_read_only_image_of_a_cache_can_be_augmented() -> None:
    sample = a_sample([[30, 30, 90, 60]], [])
    sample.image.flags.writeable = False
    augmented(sample, AugmentSettings(crop=1.0, mosaic=0.5, mixup=0.5))


def test_overlays_are_saved_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_dataset(tmp_path / "kitti")
    out = tmp_path / "pictures"
    assert overlays([str(root), "--out", str(out), "--count", "3", "--size", "64x160"]) == 0
    pictures = sorted(out.iterdir())
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).shape == (128, 320, 3)
    assert overlays([str(root), "--out", str(out), "--count", "1", "--albumentations", "ToGray,MotionBlur"]) == 0
    assert overlays([str(tmp_path), "--out", str(out)]) == 2
    assert "training/image_2" in capsys.readouterr().err
