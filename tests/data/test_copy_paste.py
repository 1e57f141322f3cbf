"""Copy-paste: what is pasted is the donor's object, where it may stand, and as often as the others."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_dataset import make_dataset

from data import copy_paste
from data.augment import Augment
from data.batches import BatchSampler, make_loader
from data.cache import CacheSpec
from data.copy_paste import COVERED, FEATHER, SCALE, CopyPaste, find_donors, paste
from data.detection import DetectionDataset, Sample, open_dataset
from data.settings import AugmentSettings, DataSettings

NONE = np.zeros((0, 4), np.float32)


def noise(seed: int, hw: tuple[int, int], boxes: list[list[float]], ignore: list[list[float]] | None = None) -> Sample:
    image = np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)
    regions = np.float32(ignore or []).reshape(-1, 4)
    return Sample(image, np.float32(boxes).reshape(-1, 4), np.arange(len(boxes)) + 10 * seed, regions, f"{seed}")


def labels(*objects: tuple[str, int, int, int, int]) -> str:
    return "".join(f"{name} 0 0 0 {x1} {y1} {x2} {y2} 1 1 1 1 1 1 0\n" for name, x1, y1, x2, y2 in objects)


@pytest.mark.parametrize("zoom", [1, 2])
def test_the_object_of_the_donor_stands_in_its_box_in_its_row(zoom: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The donor's frame is `zoom` times as large; then the object's pixels are means of 2 x 2."""
    monkeypatch.setattr(copy_paste, "SCALE", 0.0)
    donor = noise(1, (100 * zoom, 300 * zoom), [[0, 0, 9, 9], [40 * zoom, 30 * zoom, 70 * zoom, 80 * zoom]])
    sample, lefts = noise(2, (100, 260), []), set()
    for seed in range(5):
        found = paste(sample, donor, 1, np.random.default_rng(seed))
        ((x1, y1, x2, y2),) = found.boxes.astype(int).tolist()
        assert found.boxes.tolist() == [[x1, 30, x1 + 30, 80]]
        assert found.labels.tolist() == [11]
        own = donor.image[30 * zoom : 80 * zoom, 40 * zoom : 70 * zoom].reshape(50, zoom, 30, zoom, 3).mean(axis=(1, 3))
        assert np.abs(found.image[y1:y2, x1:x2] - own).max() <= 0.5
        changed = np.argwhere((found.image != sample.image).any(axis=2))
        assert (changed >= (y1 - FEATHER, x1 - FEATHER)).all()
        assert (changed < (y2 + FEATHER, x2 + FEATHER)).all()
        lefts.add(x1)
    assert len(lefts) > 1


def test_around_the_box_the_donor_fades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_paste, "SCALE", 0.0)
    white = Sample(np.full((60, 60, 3), 255, np.uint8), np.float32([[10, 20, 40, 50]]), np.array([0]), NONE, "a")
    black = Sample(np.zeros((60, 400, 3), np.uint8), NONE, np.zeros(0, np.int64), NONE, "b")
    found = paste(black, white, 0, np.random.default_rng(0))
    x1, y1, *_ = found.boxes[0].astype(int)
    shares = [1 - (k + 0.5) / FEATHER for k in range(FEATHER)]
    assert found.image[35, x1 - FEATHER - 1 : x1 + 1, 0][::-1].tolist() == [255, *np.rint(np.multiply(255, shares)), 0]
    assert found.image[y1 - FEATHER, x1 - FEATHER, 0] == 0  # round corners


def test_the_size_varies_about_the_feet() -> None:
    donor, sample, scales = noise(1, (100, 300), [[40, 30, 70, 80]]), noise(2, (100, 300), []), []
    for seed in range(30):
        ((x1, y1, x2, y2),) = paste(sample, donor, 0, np.random.default_rng(seed)).boxes
        assert y2 == 80
        assert (x2 - x1) / (y2 - y1) == pytest.approx(30 / 50, abs=1e-5)
        assert 0 <= x1 < x2 <= 300
        scales.append((y2 - y1) / 50)
    assert 1 - SCALE <= min(scales) < 0.95
    assert 1.05 < max(scales) <= 1 + SCALE


def test_an_object_that_would_not_fit_into_the_frame_is_left_out() -> None:
    donor = noise(1, (100, 300), [[40, 3, 70, 90]])  # 4 % more, and it would reach out of the top
    assert all(paste(noise(2, (100, 300), []), donor, 0, np.random.default_rng(k)).boxes[0, 1] >= 0 for k in range(20))
    narrow = noise(2, (100, 24), [])
    assert paste(narrow, donor, 0, np.random.default_rng(0)) is narrow


def test_an_object_covers_others_up_to_the_limit_and_nothing_that_is_nearer_or_to_be_ignored() -> None:
    """The feet stand in row 80; what reaches lower is nearer."""
    donor = noise(1, (100, 300), [[40, 30, 70, 80]])
    objects, regions = [[20, 40, 60, 90], [90, 20, 130, 60], [200, 50, 215, 70]], [[140, 60, 190, 75]]
    sample = noise(2, (100, 300), objects, regions)
    covered, left_out = list[float](), 0
    for seed in range(300):
        found = paste(sample, donor, 0, np.random.default_rng(seed))
        if found is sample:
            left_out += 1
            continue
        assert len(found.boxes) == 4
        np.testing.assert_array_equal(found.boxes[:3], sample.boxes)
        x1, y1, x2, y2 = found.boxes[3].tolist()
        for a, b, c, d in objects:
            shared = max(0, min(x2, c) - max(x1, a)) * max(0, min(y2, d) - max(y1, b))
            assert not shared or d <= 80
            covered.append(shared / ((c - a) * (d - b)))
        for a, _, c, _ in regions:  # the donor is as high as this region
            assert x2 <= a or x1 >= c
    assert 0.2 < max(covered) <= COVERED
    assert left_out < 60
    full = noise(2, (100, 300), [[10 * k, 50, 10 * k + 10, 70] for k in range(30)])
    assert paste(full, donor, 0, np.random.default_rng(0)) is full


def test_donors_are_whole_high_and_not_covered_by_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset(tmp_path, frames=2, labels="")
    (root / "training/label_2/000001.txt").write_text(
        labels(
            *(("DontCare", 70, 0, 80, 10), ("Car", 5, 5, 5, 50), ("Car", 0, 10, 20, 50), ("Van", 140, 10, 159, 50)),
            *(("Car", 30, 20, 60, 50), ("Cyclist", 52, 20, 60, 50), ("Car", 80, 20, 99, 35), ("Tram", 100, 5, 130, 50)),
        )
    )
    dataset = DetectionDataset(root, "train", "kitti8")
    with caplog.at_level(logging.WARNING):
        found = find_donors(dataset, [0, 1, 5, 6])
    cars, trams = (dataset[1].boxes[rows[:, 1]].tolist() for rows in found)
    assert cars == [[30, 20, 60, 50]]  # covered by less than a third
    assert trams == [[100, 5, 130, 50]]
    assert all((rows[:, 0] == 1).all() for rows in found)
    assert "no object to paste of Van, Cyclist" in caplog.text


def test_a_rare_class_is_pasted_as_often_as_a_common_one(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, frames=10, labels=labels(("Car", 10, 20, 40, 50), ("Car", 80, 20, 110, 50)))
    (root / "training/label_2/000007.txt").write_text(labels(("Tram", 10, 20, 40, 50)))
    dataset = DetectionDataset(root, "train", "kitti8", cache=CacheSpec("ram"))
    empty = noise(1, (60, 2000), [])

    def pasted(**settings: object) -> Counter[str]:
        change, rng = CopyPaste(dataset, AugmentSettings(copy_paste=0.5, **settings)), np.random.default_rng(0)
        samples = [change(empty, rng) for _ in range(200)]
        assert Counter(len(sample.boxes) for sample in samples).keys() == {0, 1, 2, 3}
        assert sum(sample is empty for sample in samples) == pytest.approx(100, abs=25)
        return Counter(dataset.class_set.names[label] for sample in samples for label in sample.labels)

    both = pasted()
    assert both.keys() == {"Car", "Tram"}
    assert both["Tram"] / both.total() == pytest.approx(0.5, abs=0.12)
    assert pasted(copy_paste_classes=("tram",)).keys() == {"Tram"}


def test_a_class_that_is_none_is_told_when_the_data_is_opened(tmp_path: Path) -> None:
    augment = AugmentSettings(copy_paste=0.5, copy_paste_classes=("Car", "Tramm"))
    settings = DataSettings(root=str(make_dataset(tmp_path)), augment=augment)
    with pytest.raises(ValueError, match=r"^unknown class in data.augment.copy_paste_classes 'Tramm'.*'Tram'.*$"):
        open_dataset(settings, "train", training=True)


def test_switched_off_it_draws_nothing_and_batches_are_those_without_it(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path), "train")
    settings = AugmentSettings(mosaic=0.5, mixup=0.5)
    sampler = BatchSampler(6, 6, (64, 96), seed=3, shuffle=False)
    (batch,) = make_loader(dataset, sampler, augment=settings)
    augment = Augment(settings, "stretch")
    for number, image in enumerate(batch.images):
        rng, out = np.random.default_rng((3, 0, number)), np.empty((64, 96, 3), np.uint8)
        placed = augment(dataset[number], rng, lambda: dataset[int(rng.integers(6))], out)  # noqa: B023
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), placed.image)
        np.testing.assert_array_equal(batch.targets.boxes[batch.targets.image == number].numpy(), placed.boxes)


def test_every_frame_of_a_batch_is_given_objects_those_that_are_mixed_in_too(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, frames=8, size=(60, 900)), "train")  # two objects a frame
    settings = AugmentSettings(crop=0, rotation=0, copy_paste=1.0)
    sampler = BatchSampler(8, 8, (64, 896))

    def objects(**more: float) -> list[int]:
        (batch,) = make_loader(dataset, sampler, augment=settings.model_copy(update=more))
        return batch.targets.image.bincount().tolist()

    assert set(objects()) == {3, 4, 5}
    assert max(objects(mixup=1.0)) > 2 * 2 + 3


def test_images_of_a_cache_stay_as_they_are(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path), "train", cache=CacheSpec("ram", max_side=120))
    change, rng = CopyPaste(dataset, AugmentSettings(copy_paste=1.0)), np.random.default_rng(0)
    before = [sample.image.copy() for sample in dataset]
    changed = [change(sample, rng) for sample in dataset]
    assert any(len(new.boxes) > len(old.boxes) for new, old in zip(changed, dataset, strict=True))
    for sample, image in zip(dataset, before, strict=True):
        np.testing.assert_array_equal(sample.image, image)
    unlocked = noise(2, (45, 120), [])
    copy = unlocked.image.copy()
    assert change(unlocked, rng).image is not unlocked.image
    np.testing.assert_array_equal(unlocked.image, copy)


def triangle(hw: tuple[int, int], box: tuple[int, int, int, int], value: int) -> Sample:
    """One object: the lower left half of its box."""
    x1, y1, x2, y2 = box
    masks = np.zeros((1, *hw), np.uint8)
    masks[0, y1:y2, x1:x2] = np.tri(y2 - y1, x2 - x1)
    image = np.repeat(masks[0, ..., None] * np.uint8(value), 3, axis=2)
    return Sample(image, np.float32([box]), np.array([value]), NONE, "a", masks=masks)


def test_masks_show_the_pixels_of_objects_and_what_is_underneath_loses_them() -> None:
    donor, sample, overlaps = (
        triangle((100, 200), (20, 40, 60, 80), 250),
        triangle((100, 200), (50, 30, 150, 75), 100),
        0,
    )
    for seed in range(40):
        found = paste(sample, donor, 0, np.random.default_rng(seed))
        if found is sample:
            continue
        assert found.labels.tolist() == [100, 250]
        assert found.masks is not None
        assert sample.masks is not None
        under, over = found.masks
        assert not (under & over).any()
        np.testing.assert_array_equal(under | over, sample.masks[0] | over)
        lost = (sample.masks[0] & over).sum()
        assert lost <= COVERED * sample.masks[0].sum()
        overlaps += lost > 0
        x1, y1, x2, y2 = found.boxes[1]
        ys, xs = np.nonzero(over)
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == pytest.approx((x1, y1, x2, y2), abs=2)
        assert 0.4 < over.sum() / ((x2 - x1) * (y2 - y1)) < 0.6
        inner = over.astype(bool)
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):  # pixels on the border of the mask are blended
            inner &= np.roll(inner, step, axis)
        assert (found.image[inner] > 200).all()
        outer = ~over.astype(bool)
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            outer &= np.roll(outer, step, axis)
        np.testing.assert_array_equal(found.image[outer], sample.image[outer])
    assert overlaps
