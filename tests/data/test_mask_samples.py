"""Masks from COCO's files to a batch: whatever happens to a picture happens to the pixels of its objects."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import change_json, coco

from data import overlays
from data.annotation import DatasetError
from data.augment import Augment, Placed, place
from data.batches import Batch, BatchSampler, Targets, make_loader
from data.cache import CacheSpec
from data.convert import main as convert
from data.detection import DetectionDataset, Sample
from data.doctor import examine
from data.formats import open_source
from data.masks import area
from data.settings import AugmentSettings

NOTHING = AugmentSettings(crop=0, rotation=0, flip=0, hue=0, saturation=0, value=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Every object is a solid rectangle and has it as polygon, runs as a list, or runs as text in turn;
    the crowd has runs."""
    coco(tmp_path)
    for split in ("train2017", "val2017"):
        path = tmp_path / f"annotations/instances_{split}.json"
        rows = json.loads(path.read_text())["annotations"]
        for row in rows:
            x, y, width, height = map(int, row["bbox"])
            counts = [x * 64 + y] + [height, 64 - height] * (width - 1) + [height]
            runs = {"size": [64, 128], "counts": [*counts, 64 * 128 - sum(counts)]}
            polygon = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            row["segmentation"] = runs if row["iscrowd"] or row["id"] % 2 else polygon
        change_json(path, annotations=rows)
    return tmp_path


def test_masks_are_the_pixels_of_objects_and_read_only_where_asked_for(root: Path) -> None:
    dataset = DetectionDataset(root, "train", masks="samples")
    for sample in dataset:
        assert sample.masks is not None
        expected = np.zeros((2, 64, 128), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(expected, sample.boxes.astype(int), strict=True):
            mask[y1:y2, x1:x2] = 1
        assert sample.masks.dtype == np.uint8
        np.testing.assert_array_equal(sample.masks, expected)
    crowd = next(item for item in dataset.annotations("000000000100") if item.ignore)
    assert crowd.mask is not None
    assert area(crowd.mask) == 48
    plain = DetectionDataset(root, "train")
    assert plain[0].masks is None
    assert all(item.mask is None for item in plain.annotations("000000000100"))
    np.testing.assert_array_equal(plain[0].boxes, dataset[0].boxes)


def test_an_object_without_a_mask_is_told_where_masks_are_learnt(root: Path) -> None:
    path = root / "annotations/instances_train2017.json"
    rows = json.loads(path.read_text())["annotations"]
    rows[4]["segmentation"] = []
    change_json(path, annotations=rows)
    with pytest.raises(DatasetError, match=r"instances_train2017.json: 000000000101.jpg: an object .* has no mask"):
        DetectionDataset(root, "train", masks="samples")
    judged = DetectionDataset(root, "train", masks="annotations")
    assert judged[0].masks is None
    assert [item.mask is None for item in judged.annotations("000000000101")].count(True) == 1
    name = {3: "bus", 7: "traffic light"}[rows[4]["category_id"]]
    assert DetectionDataset(root, "train", masks="samples", ignore=[name]).class_set.index(name) == -1


def test_sizes_that_are_not_the_files_are_told(root: Path) -> None:
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["width"] = 100
    rows = [row for row in content["annotations"] if not row["iscrowd"] and row["id"] % 2 == 0]
    change_json(path, images=content["images"], annotations=rows)
    with pytest.raises(DatasetError, match="a mask of 100 x 64 pixels, the image has 128 x 64"):
        DetectionDataset(root, "train", masks="samples")[0]


def test_a_reduced_copy_in_the_cache_has_reduced_masks(root: Path) -> None:
    whole = DetectionDataset(root, "train", masks="samples")[1]
    half = DetectionDataset(root, "train", masks="samples", cache=CacheSpec("ram", max_side=64))[1]
    assert whole.masks is not None
    assert half.masks is not None
    assert half.masks.shape == (2, 32, 64)
    np.testing.assert_allclose(half.masks.sum((1, 2)), whole.masks.sum((1, 2)) / 4, rtol=0.25)


def drawn(boxes: list[tuple[int, int, int, int]], hw: tuple[int, int], k: int | None = None) -> Sample:
    """White objects on black, and their masks; of object k alone where it is named."""
    masks = np.zeros((len(boxes), *hw), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
        mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2] = 0  # no rectangle: it has no symmetry
    picture = masks.any(axis=0) if k is None else masks[k]
    image = np.repeat(picture[..., None].astype(np.uint8) * 255, 3, axis=2)
    return Sample(image, np.float32(boxes), np.arange(len(boxes)), np.zeros((0, 4), np.float32), "a", masks=masks)


BOXES = [(20, 20, 80, 60), (150, 5, 299, 95), (120, 70, 136, 90)]


def augmented(settings: AugmentSettings, seed: int, policy: str, k: int | None = None, bare: bool = False) -> Placed:
    def sample() -> Sample:
        made = drawn(BOXES, (100, 300), k)
        return dataclasses.replace(made, masks=None) if bare else made

    out = np.zeros((96, 160, 3), np.uint8)
    return Augment(settings, policy)(sample(), np.random.default_rng(seed), sample, out)


@pytest.mark.parametrize("policy", ["stretch", "letterbox"])
@pytest.mark.parametrize("seed", range(6))
def test_a_mask_goes_where_the_pixels_of_its_object_go(seed: int, policy: str) -> None:
    settings = NOTHING.model_copy(update={"crop": 1.0, "rotation": 30.0, "flip": 0.5, "min_visible": 0.05})
    found = augmented(settings, seed, policy)
    bare = augmented(settings, seed, policy, bare=True)
    np.testing.assert_array_equal(found.boxes, bare.boxes)  # masks change nothing else
    assert bare.masks is None
    assert found.masks is not None
    assert len(found.masks) == len(found.labels) > 0
    for mask, label in zip(found.masks, found.labels, strict=True):
        alone = augmented(settings, seed, policy, k=int(label))  # a picture of this object only
        np.testing.assert_array_equal(mask, alone.image[..., 0] > 127)


def test_objects_that_are_cut_away_take_their_masks_along() -> None:
    settings = NOTHING.model_copy(update={"crop": 1.0, "crop_min_area": 0.05, "min_visible": 0.9})
    counts = set()
    for seed in range(20):
        found = augmented(settings, seed, "stretch")
        assert found.masks is not None
        assert len(found.masks) == len(found.boxes) == len(found.labels)
        counts.add(len(found.masks))
    assert {1, 2} & counts


def test_a_flip_is_exact() -> None:
    sample = drawn([(3, 2, 30, 17)], (96, 160))
    assert sample.masks is not None
    flip = Augment(NOTHING.model_copy(update={"flip": 1.0}), "stretch")
    found = flip(sample, np.random.default_rng(0), lambda: sample, np.empty((96, 160, 3), np.uint8))
    np.testing.assert_array_equal(found.masks, sample.masks[:, :, ::-1])


@pytest.mark.parametrize("seed", range(4))
def test_a_mosaic_shows_all_masks_where_its_pictures_are(seed: int) -> None:
    found = augmented(NOTHING.model_copy(update={"mosaic": 1.0}), seed, "stretch")
    assert found.masks is not None
    assert len(found.masks) == len(found.boxes) > 3
    for mask, (x1, y1, x2, y2) in zip(found.masks, found.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert rows.min() >= np.floor(y1) and rows.max() <= np.ceil(y2)
        assert columns.min() >= np.floor(x1) and columns.max() <= np.ceil(x2)
        assert (found.image[..., 0][mask == 1] > 127).all()


def test_mixup_has_the_masks_of_both_pictures() -> None:
    found = augmented(NOTHING.model_copy(update={"mixup": 1.0}), 0, "stretch")
    assert found.masks is not None
    assert len(found.masks) == len(found.boxes) == 2 * len(BOXES)
    np.testing.assert_array_equal(found.masks[:3], found.masks[3:])


@pytest.mark.parametrize("policy", ["stretch", "letterbox"])
def test_placing_puts_masks_where_pixels_go(policy: str) -> None:
    for k in range(len(BOXES)):
        sample = drawn(BOXES, (100, 300), k)
        placed = place(sample, policy, np.empty((96, 160, 3), np.uint8))
        assert placed.masks is not None
        np.testing.assert_array_equal(placed.masks[k], placed.image[..., 0] > 127)


def test_a_batch_has_the_masks_of_all_its_frames_beside_their_boxes(root: Path) -> None:
    dataset = DetectionDataset(root, "train", masks="samples")
    sampler = BatchSampler(len(dataset), 3, (64, 128), shuffle=False)
    batch = next(iter(make_loader(dataset, sampler)))
    masks = batch.targets.masks
    assert masks is not None
    assert masks.dtype == torch.uint8
    assert masks.shape == (6, 64, 128)
    expected = np.concatenate([sample.masks for sample in (dataset[0], dataset[1], dataset[2])])  # type: ignore[list-item]
    np.testing.assert_array_equal(masks.numpy(), expected)
    moved = batch.to("cpu").targets.masks
    assert moved is not None
    assert torch.equal(moved, masks)


def test_an_overlay_has_half_the_colour_of_a_class_on_its_mask() -> None:
    masks = torch.zeros(1, 32, 32, dtype=torch.uint8)
    masks[0, 8:16, 4:24] = 1
    owner, none = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    boxes = torch.tensor([[4.0, 8.0, 24.0, 16.0]])
    targets = Targets(boxes, owner, owner, boxes[:0], none, masks)
    batch = Batch(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8), targets, ("a",), ())
    picture = overlays.draw(batch, 0, ("bus",))
    np.testing.assert_array_equal(picture[26, 30], 50 + np.array(overlays.COLOURS[0]) // 2)
    np.testing.assert_array_equal(picture[60, 30], [100] * 3)


def test_converting_to_coco_keeps_masks(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    assert convert([str(root), str(target), "--to", "coco", "--map", "bus=coach"]) == 0
    before, after = open_source(root, masks=True), open_source(target, masks=True)
    frames = before.frames("train")
    assert after.frames("train") == frames
    for frame in frames:
        old, new = before.annotations(frame), after.annotations(frame)
        assert [(item.mask, item.area, item.box) for item in new] == [(item.mask, item.area, item.box) for item in old]
    assert {item.name for item in new} == {"coach", "traffic light"}
    written = json.loads((target / "annotations/instances_train.json").read_text())["annotations"]
    assert {tuple(row["segmentation"]["size"]) for row in written} == {(64, 128)}


def test_the_doctor_counts_what_is_odd_in_masks(root: Path) -> None:
    path = root / "annotations/instances_train2017.json"
    rows = [row for row in json.loads(path.read_text())["annotations"] if not row["iscrowd"]]
    rows[0]["segmentation"] = [[1, 1, 5, 5]]
    rows[1]["segmentation"] = [[100, 10, 140, 10, 140, 30, 100, 30]]
    rows[2]["segmentation"] = {"size": [60, 128], "counts": [60 * 128]}
    rows[3]["segmentation"] = {"size": [64, 128], "counts": [64 * 128]}
    rows[4]["bbox"][2] = 0
    change_json(path, annotations=rows)
    kinds = {problem.kind: problem for problem in examine(root, 1).problems}
    assert set(kinds) == {
        *("malformed annotation", "mask outside the image", "mask without a pixel", "box inverted or without area"),
    }
    assert "reaches 12 pixels out of the picture" in str(kinds["mask outside the image"])
    said = [problem.message for problem in examine(root, 1).problems if problem.kind == "malformed annotation"]
    assert len(said) == 2
    assert "a polygon of 2 points" in said[0]
    assert "a mask of 128 x 60 pixels in a picture of 128 x 64" in said[1]
