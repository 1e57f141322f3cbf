"""A training that is killed again and again, at any moment, ends with the bits of one that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.training.test_task import Regress, config
from training.checkpoint import load_checkpoint
from training.run import train_in

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FILES = {"best.pt", "last.pt", "config.yaml", "metrics.csv", "losses.png", "validation.png", "lr.png", "tensorboard"}


def start(folder: Path) -> int:
    """The run of this folder in a process of its own, which saves at every step; returns its id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        status = 128 if train_in(folder, Regress(config(folder.parent, "train.save_minutes=0"))) else 0
    except KeyboardInterrupt:  # before the loop listens to signals, or after it
        status = 130
    finally:
        os._exit(status)


def kill_and_resume(folder: Path, signals: int, rng: random.Random) -> None:
    """Sends that many signals to runs of folder/0, folder/1, ..., each until it is done."""
    run = sent = 0
    while True:
        process = start(folder / str(run))
        if sent < signals:
            time.sleep(rng.uniform(0.05, 1.5))
            os.kill(process, rng.choice(SIGNALS))
            sent += 1
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 128, 130, -signal.SIGKILL)
        if (last := folder / str(run) / "last.pt").exists():
            load_checkpoint(last)
        if status == 0:
            run += 1
            if sent == signals:
                break
    whole = folder / "whole"
    assert train_in(whole, Regress(config(folder))) == 0
    expected = load_checkpoint(whole / "last.pt").model
    for number in range(run):
        found = load_checkpoint(folder / str(number) / "last.pt").model
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), f"run {number}"
        names = {path.name for path in (folder / str(number)).iterdir()}
        assert {"last.pt", "best.pt", "metrics.csv"} <= names
        assert names <= FILES, "parts of killed runs are left"  # killed after its last save, a run lacks some pictures


def test_five_signals(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 5, random.Random(0))


@pytest.mark.slow
def test_sixty_signals(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 60, random.Random(1))
