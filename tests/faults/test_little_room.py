"""Training where shared memory is too small for its workers, as in a container of Docker's defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from data.batches import BatchSampler, Loader, fitting_workers
from system.command import Failure

ROOT = Path(__file__).parents[2]


def test_as_many_workers_as_fit() -> None:
    sampler = BatchSampler(64, 16, (448, 448))  # 9.7 MB a batch
    room = {None: 4, 10**9: 4, 64 * 10**6: 2, 35 * 10**6: 1, 65536: 0}
    assert {free: fitting_workers(4, sampler, free) for free in room} == room
    assert fitting_workers(0, sampler, 65536) == 0


@pytest.mark.parametrize("fault", [EOFError(), OSError(24, "Too many open files"), RuntimeError("killed\nat once")])
def test_a_batch_that_cannot_be_handed_over_is_told(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """What torch raises where file descriptors run out, on this side or on that of a worker."""

    def broken(self: object) -> Iterator[None]:
        raise fault
        yield

    monkeypatch.setattr(DataLoader, "__iter__", broken)
    with pytest.raises(Failure, match=r"the processes that prepare batches gave none \(.+\); data.workers=0") as caught:
        next(iter(Loader([])))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ["64k", "2m"])
def test_a_run_ends_where_shared_memory_is_tiny(tmp_path: Path, size: str) -> None:
    mounts = ["unshare", "--mount", "sh", "-c"]
    if subprocess.run([*mounts, "mount -t tmpfs -o size=64k tmpfs /dev/shm"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs of its own")
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (tmp_path / folder).mkdir(parents=True)
    for frame in range(8):
        cv2.imwrite(str(tmp_path / f"training/image_2/{frame}.png"), np.full((200, 300, 3), 90, np.uint8))
        (tmp_path / f"training/label_2/{frame}.txt").write_text("Car 0 0 0 20 20 90 90 1 1 1 1 1 1 0\n")
    for split in ("train", "val"):
        (tmp_path / f"ImageSets/{split}.txt").write_text("\n".join(map(str, range(8))))
    words = [f"data.root={tmp_path}", f"train.runs={tmp_path}", "phases=[{size: 320, epochs: 1, batch_size: 8}]"]
    words += ["network.width=0.125", "data.workers=2", "train.precision=fp32", "train.threads=1"]
    train = " ".join(f"'{word}'" for word in [sys.executable, "train.py", "configs/kitti.yaml", *words])
    job = f"mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {train}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*mounts, job], capture_output=True, text=True, timeout=240, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "/dev/shm has" in done.stderr and "taking 0" in done.stderr
