from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_dataset import make_dataset

from data.cache import CacheSpec
from data.detection import DetectionDataset
from data.images import read_image

FRAME_BYTES = 60 * 160 * 3


def a_spec(kind: str, folder: Path, **options: float) -> CacheSpec:
    return CacheSpec(kind, folder=folder / "cache", **options)  # type: ignore[arg-type]


@pytest.fixture(params=["ram", "disk"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_cached_images_are_the_decoded_ones_and_are_decoded_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_dataset(tmp_path)
    plain, cached = DetectionDataset(root, "train"), DetectionDataset(root, "train", cache=a_spec(kind, tmp_path))
    decoded = []
    monkeypatch.setattr("data.cache.read_image", lambda path: decoded.append(path) or read_image(path))
    for _ in range(3):
        for index in range(len(plain)):
            assert (cached[index].image == plain[index].image).all()
            assert (cached[index].boxes == plain[index].boxes).all()
    assert len(decoded) == 6
    assert not cached[0].image.flags.writeable


def test_the_bound_is_told_before_it_fills_and_is_kept(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_dataset(tmp_path)
    with caplog.at_level(logging.INFO):
        dataset = DetectionDataset(root, "train", cache=a_spec(kind, tmp_path, limit=4.5 * FRAME_BYTES))
    assert dataset.cache is not None
    assert "4 of 6 frames" in dataset.cache.summary
    assert dataset.cache.summary in caplog.text
    decoded = []
    monkeypatch.setattr("data.cache.read_image", lambda path: decoded.append(path) or read_image(path))
    for _ in range(2):
        assert [dataset[index].frame for index in range(6)] == list(dataset.frames)
    assert len(decoded) == 4 + 2 * 2
    if kind == "disk":
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) == 4 * FRAME_BYTES


def test_images_may_be_kept_reduced_with_their_boxes(kind: str, tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    full = DetectionDataset(root, "train")[0]
    sample = DetectionDataset(root, "train", cache=a_spec(kind, tmp_path, max_side=80))[0]
    assert sample.image.shape == (30, 80, 3)
    assert sample.source == (60, 160)
    assert np.allclose(sample.boxes, full.boxes / 2)
    assert np.allclose(sample.ignore, full.ignore / 2)


def test_a_changed_source_is_decoded_anew(kind: str, tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    dataset = DetectionDataset(root, "train", cache=a_spec(kind, tmp_path))
    old = dataset[2].image.copy()
    path = root / "training/image_2/000002.png"
    cv2.imwrite(str(path), 255 - old)
    os.utime(path, ns=(1, time.time_ns() + 10**9))
    for cached in (dataset, DetectionDataset(root, "train", cache=a_spec(kind, tmp_path))):
        for _ in range(2):
            assert (cached[2].image == read_image(path)).all()
    if kind == "disk":  # the copy of the old state is gone
        assert len(list((tmp_path / "cache").glob("000002-*"))) == 1


def _read_all(dataset: DetectionDataset, queue: multiprocessing.Queue[int]) -> None:
    queue.put(sum(int(dataset[index].image.sum(dtype=np.int64)) for index in range(len(dataset))))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_processes_may_fill_it_at_once(kind: str, tmp_path: Path) -> None:
    root = make_dataset(tmp_path, frames=30)
    dataset = DetectionDataset(root, "train", cache=a_spec(kind, tmp_path))
    expected = sum(int(read_image(dataset.image_path(frame)).sum(dtype=np.int64)) for frame in dataset.frames)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read_all, args=(dataset, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [expected] * 4
    for worker in workers:
        worker.join()
    if kind == "disk":
        assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".rgb"] * 30
    # what the others filled is here too: the sources may even be unreadable now
    for frame in dataset.frames:
        status = dataset.image_path(frame).stat()
        dataset.image_path(frame).write_bytes(b"x" * status.st_size)
        os.utime(dataset.image_path(frame), ns=(status.st_atime_ns, status.st_mtime_ns))
    _read_all(dataset, queue)
    assert queue.get(timeout=60) == expected


def test_a_half_written_file_on_disk_is_not_believed(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, frames=1)
    dataset = DetectionDataset(root, "train", cache=a_spec("disk", tmp_path))
    image = dataset[0].image.copy()
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert (dataset[0].image == image).all()
    assert file.stat().st_size == FRAME_BYTES


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    (tmp_path / "cache").mkdir()
    old, fresh = tmp_path / "cache/a.rgb.1.part", tmp_path / "cache/a.rgb.2.part"
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    DetectionDataset(root, "train", cache=a_spec("disk", tmp_path))
    assert not old.exists()
    assert fresh.exists()


def test_a_disk_that_cannot_be_written_costs_speed_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path), "train", cache=a_spec("disk", tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert dataset[0].image.shape == dataset[1].image.shape == (60, 160, 3)
    assert caplog.text.count("No space left") == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_ram_cache_tells_that_it_cannot_be_sent_to_spawned_workers(tmp_path: Path) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path), "train", cache=a_spec("ram", tmp_path))
    with pytest.raises(ValueError, match=r"set data\.cache=disk"):
        pickle.dumps(dataset)
    pickle.dumps(DetectionDataset(tmp_path, "train", cache=a_spec("disk", tmp_path)))
