from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import make_dataset

from data.batches import Batch, BatchSampler, make_loader, size_choices
from data.detection import DetectionDataset
from data.images import ImageError
from data.resize import fit, resize
from data.settings import AugmentSettings

STRONG = AugmentSettings(crop=1.0, mosaic=0.3, mixup=0.3, copy_paste=0.5)


def frames(batches: list[list]) -> list[list[int]]:
    return [[request.frame for request in batch] for batch in batches]


def equal(first: Batch, second: Batch) -> bool:
    names = ("boxes", "labels", "image", "ignore", "ignore_image")
    return (
        torch.equal(first.images, second.images)
        and all(torch.equal(getattr(first.targets, name), getattr(second.targets, name)) for name in names)
        and (first.ids, first.geometries) == (second.ids, second.geometries)
    )


def test_size_choices() -> None:
    assert size_choices((448, 448), None) == [(448, 448)]
    assert size_choices((448, 448), (300, 400)) == [(320, 320), (352, 352), (384, 384)]
    assert size_choices((256, 800), (224, 288)) == [(224, 704), (256, 800), (288, 896)]  # the width keeps 3.125
    for size, size_range in (((450, 448), None), ((0, 32), None), ((64, 64), (65, 90)), ((64, 64), (128, 64))):
        with pytest.raises(ValueError, match="32"):
            size_choices(size, size_range)


@given(st.integers(8, 60), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 5), st.integers(0, 3))
def test_ranks_share_each_global_batch_at_one_size(
    count: int, batch_size: int, world: int, drop_last: bool, epoch: int, seed: int
) -> None:
    if drop_last and count < batch_size * world:
        return
    samplers = [
        BatchSampler(
            count, batch_size, (64, 64), size_range=(64, 256), drop_last=drop_last, seed=seed, rank=rank, world=world
        )
        for rank in range(world)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    shares = [list(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [len(sampler) for sampler in samplers]
    seen = [frame for share in shares for batch in frames(share) for frame in batch]
    assert len(seen) == len(set(seen))  # no frame comes twice
    whole = count // (batch_size * world)
    if drop_last:
        assert [len(share) for share in shares] == [whole] * world
        assert len(seen) == whole * batch_size * world
        assert all(len(batch) == batch_size for share in shares for batch in share)
    else:
        assert sorted(seen) == list(range(count))
    for number in range(max(map(len, shares))):
        assert len({request.size for share in shares for batch in share[number : number + 1] for request in batch}) == 1


def test_sizes_vary_between_batches_and_epochs_and_seeds_but_repeat_exactly() -> None:
    def of(seed: int, epoch: int) -> list:
        sampler = BatchSampler(200, 4, (448, 448), size_range=(320, 608), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert of(1, 2) == of(1, 2)
    assert len({batch[0].size for batch in of(1, 2)}) > 5
    for other in (of(1, 3), of(2, 2)):
        assert frames(of(1, 2)) != frames(other)
        assert [batch[0].size for batch in of(1, 2)] != [batch[0].size for batch in other]


def test_a_resumed_epoch_is_the_rest_of_the_whole_one() -> None:
    sampler = BatchSampler(50, 4, (64, 64), size_range=(64, 640), seed=3)
    sampler.set_epoch(7)
    whole = list(sampler)
    sampler.set_epoch(7, start_batch=5)
    assert (len(sampler), sampler.batches_per_epoch) == (7, 12)
    assert list(sampler) == whole[5:]
    sampler.set_epoch(7, start_batch=12)
    assert list(sampler) == []


def test_evaluation_order_is_the_datasets_and_the_last_batch_is_short() -> None:
    sampler = BatchSampler(5, 2, (64, 64), shuffle=False, drop_last=False)
    assert frames(list(sampler)) == [[0, 1], [2, 3], [4]]


def test_a_sampler_that_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="7 frames do not fill one batch of 8"):
        BatchSampler(7, 4, (64, 64), world=2)
    with pytest.raises(ValueError, match="rank"):
        BatchSampler(7, 1, (64, 64), rank=2, world=2)
    with pytest.raises(ValueError, match="multiples of 32"):
        BatchSampler(7, 1, (60, 64))


def test_validation_batches_by_hand(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, frames=3)
    (root / "training/label_2/000001.txt").write_text("")
    dataset = DetectionDataset(root, "train", "kitti3")
    loader = make_loader(dataset, BatchSampler(3, 3, (96, 160), shuffle=False), policy="letterbox")
    (batch,) = list(loader)
    geometry = fit((60, 160), (96, 160), "letterbox")  # scale 1, 18 rows of padding above and below
    assert batch.ids == ("000000", "000001", "000002")
    assert batch.geometries == (geometry,) * 3
    assert batch.images.shape == (3, 3, 96, 160)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.images[1].permute(1, 2, 0).numpy() == resize(dataset[1].image, geometry)).all()
    targets = batch.targets
    assert targets.boxes.tolist() == [[10, 38, 60, 68]] * 2
    assert targets.labels.tolist() == [0, 0]
    assert targets.image.tolist() == [0, 2]
    assert targets.ignore.tolist() == [[70, 38, 90, 68], [100, 28, 120, 48]] * 2
    assert targets.ignore_image.tolist() == [0, 0, 2, 2]
    types = [getattr(targets, name).dtype for name in targets.__slots__ if name != "masks"]
    assert types == [torch.float32, torch.int64, torch.int64, torch.float32, torch.int64]
    assert targets.masks is None
    assert equal(batch.to("cpu"), batch)


def test_a_batch_without_any_object_is_normal(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, labels=""), "train")
    (batch, *_) = make_loader(dataset, BatchSampler(6, 2, (64, 64)), augment=STRONG)
    assert batch.targets.boxes.shape == batch.targets.ignore.shape == (0, 4)
    assert batch.targets.labels.dtype == torch.int64


@pytest.mark.parametrize("effects", [(), ({"MotionBlur": {"p": 0.5}}, {"RandomRain": {"p": 0.5}}, "GaussNoise")])
def test_the_bytes_do_not_depend_on_workers_or_on_where_a_run_resumed(tmp_path: Path, effects: tuple) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, frames=12), "train")
    settings = STRONG.model_copy(update={"albumentations": effects})

    def batches(workers: int, start: int = 0) -> list[Batch]:
        sampler = BatchSampler(12, 3, (64, 64), size_range=(64, 128), seed=5)
        sampler.set_epoch(4, start)
        return list(make_loader(dataset, sampler, augment=settings, workers=workers))

    alone = batches(0)
    assert len(alone) == 4
    assert all(map(equal, alone, batches(2)))
    assert all(map(equal, alone[2:], batches(1, start=2)))
    assert not torch.equal(alone[0].images.sum(), alone[1].images.sum())


def test_each_epoch_changes_a_frame_anew(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, frames=1), "train")
    sampler = BatchSampler(1, 1, (64, 64))
    loader = make_loader(dataset, sampler, augment=STRONG, workers=1)
    pictures = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        pictures += [batch.images for batch in loader]
    assert len(pictures) == 3
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


def test_loading_leaves_the_random_streams_of_training_alone(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path), "train")
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state()
    for workers in (0, 2):
        list(make_loader(dataset, BatchSampler(6, 2, (64, 64)), augment=STRONG, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.random() == np.random.RandomState(1).random()  # noqa: NPY002


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_met_by_a_worker_is_told_in_one_line(tmp_path: Path, workers: int) -> None:
    root = make_dataset(tmp_path)
    dataset = DetectionDataset(root, "train")
    (root / "training/image_2/000003.png").write_bytes(b"junk")
    with pytest.raises(ImageError, match=r"^\S*000003\.png: [^\n]*$"):
        list(make_loader(dataset, BatchSampler(6, 2, (64, 64)), workers=workers))


@pytest.mark.slow
def test_memory_stays_flat_over_epochs(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, frames=64, size=(375, 1242)), "train")
    sampler = BatchSampler(64, 8, (448, 448), size_range=(224, 448))
    loader = make_loader(dataset, sampler, augment=STRONG, workers=2)

    def resident() -> int:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (str(os.getpid()), *children)]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    sizes = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        for _ in loader:
            pass
        time.sleep(0.2)
        sizes.append(resident())
    assert max(sizes[3:]) < max(sizes[:3]) + 30 * 2**20, sizes
