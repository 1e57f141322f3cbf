"""What becomes of a picture on its way into a batch, against torchvision and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from data.batches import BatchSampler
from data.classification import judged, make_picture_loader, random_part, resized, vary
from data.images import ImageError
from data.settings import PictureSettings

RESIZED, PADDED = PictureSettings(crop="resized"), PictureSettings(crop="padded", padding=4)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def channels_first(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (375, 250), (256, 256), (100, 90)])
def test_what_is_judged_is_torchvisions_resize_and_centre_crop(height: int, width: int) -> None:
    picture = noise(height, width)
    theirs = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])(channels_first(picture))
    ours = judged(picture, (224, 224), RESIZED)
    assert ours.shape == (224, 224, 3)
    assert np.array_equal(ours, theirs.permute(1, 2, 0).numpy())


def test_a_padded_picture_is_judged_whole() -> None:
    assert np.array_equal(judged(noise(32, 32), (32, 32), PADDED), noise(32, 32))
    assert judged(noise(50, 40), (64, 64), PADDED).shape == (64, 64, 3)


def test_a_padded_picture_is_moved_within_a_black_border_and_flipped_half_of_the_time() -> None:
    picture = noise(32, 32) // 2 + 1  # nowhere black
    framed = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
    places = {
        framed[top : top + 32, left : left + 32][:, ::step].tobytes(): (top, left, step)
        for top in range(9)
        for left in range(9)
        for step in (1, -1)
    }
    rng = np.random.default_rng(0)
    seen = [places[vary(picture, (32, 32), PADDED, rng).tobytes()] for _ in range(2000)]
    assert {(top, left) for top, left, _ in seen} == {(top, left) for top in range(9) for left in range(9)}
    assert 900 < sum(step == -1 for *_, step in seen) < 1100


def test_random_parts_are_distributed_as_torchvisions() -> None:
    """Mean share of the area and mean aspect of many parts; a part is within the picture."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    image = torch.zeros(3, 120, 200, dtype=torch.uint8)
    theirs = np.array([v2.RandomResizedCrop(32).make_params([image]) for _ in range(1500)], dtype=object)
    boxes = np.array([[params[k] for k in ("height", "width", "top", "left")] for params in theirs], float)
    parts = [random_part((120, 200), 0.08, rng) for _ in range(1500)]
    ours = np.array([[r.stop - r.start, c.stop - c.start, r.start, c.start] for r, c in parts], float)
    assert (ours[:, 0] + ours[:, 2]).max() <= 120 and (ours[:, 1] + ours[:, 3]).max() <= 200 and ours.min() >= 0
    assert ours.mean(0) == pytest.approx(boxes.mean(0), rel=0.07)
    assert ours.std(0) == pytest.approx(boxes.std(0), rel=0.1)


def test_a_picture_too_narrow_for_any_part_gives_its_middle() -> None:
    rows, columns = random_part((10, 400), 1.0, np.random.default_rng(0))
    assert (rows, columns) == (slice(0, 10), slice(193, 206))  # 4:3


def test_resizing_is_torchvisions_and_leaves_the_right_size_alone() -> None:
    picture = noise(40, 30)
    theirs = v2.functional.resize(channels_first(picture), [17, 23], antialias=True)
    assert np.array_equal(resized(picture, (17, 23)), theirs.permute(1, 2, 0).numpy())
    assert resized(picture, (40, 30)) is picture


class Two:
    """Six pictures of two classes."""

    classes = ("a", "b")
    labels = np.array([0, 1, 0, 1, 0, 1])

    def read(self, index: int) -> np.ndarray:
        return noise(48, 40, index)

    def name(self, index: int) -> str:
        return f"p{index}"


@pytest.mark.parametrize("crop", ["resized", "padded"])
def test_the_bytes_of_a_batch_depend_on_seed_and_epoch_not_on_the_workers(crop: str) -> None:
    def batches(workers: int, epoch: int) -> list:
        sampler = BatchSampler(6, 2, (32, 32))
        sampler.set_epoch(epoch)
        settings = PictureSettings(crop=crop, workers=workers)
        return list(make_picture_loader(Two(), sampler, settings, training=True))

    alone, shared, later = batches(0, 3), batches(1, 3), batches(0, 4)
    assert [batch.ids for batch in alone] == [batch.ids for batch in shared]
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        assert one.labels.tolist() == [int(name[1]) % 2 for name in one.ids]
        assert one.images.shape == (2, 3, 32, 32) and one.images.is_contiguous(memory_format=torch.channels_last)
    first = {name: image for batch in alone for name, image in zip(batch.ids, batch.images, strict=True)}
    second = {name: image for batch in later for name, image in zip(batch.ids, batch.images, strict=True)}
    assert not all(torch.equal(first[name], second[name]) for name in first)


class OneIsBroken(Two):
    def read(self, index: int) -> np.ndarray:
        if index == 4:
            raise ImageError("train/a/4.png: not an image that can be decoded")
        return super().read(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_ends_the_work_and_is_named(workers: int) -> None:
    settings = PictureSettings(workers=workers)
    with pytest.raises(ImageError, match=r"^train/a/4\.png: not an image that can be decoded$"):
        list(make_picture_loader(OneIsBroken(), BatchSampler(6, 2, (32, 32)), settings, training=False))
