"""Trainings and comparisons that are killed again and again, at any moment, end as those that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_dataset import make_dataset

from tests.training.test_task import Regress, config
from training.checkpoint import load_checkpoint
from training.compare import compare
from training.compare_table import Judge
from training.run import train_in

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FILES = {"best.pt", "last.pt", "config.yaml", "metrics.csv", "losses.png", "validation.png", "lr.png", "tensorboard"}


class Brightest(Judge):
    """Compares brightness regressors, and measures nothing."""

    task, against_fps = Regress, "score_against_fps"

    def is_metric(self, column):
        return column == "guess"

    def scores(self, metrics):
        return {"guess": [100 * value for value in metrics["guess"]]}

    def cost(self, config, checkpoint):
        return 1, 1

    def runner(self, checkpoint):
        return lambda: None

    def caption(self, config):
        return "greys"


def start(work: Callable[[], int]) -> int:
    """Work in a process of its own, which ends with its status; returns the process's id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        for said in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), said)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        status = work()
    except KeyboardInterrupt:  # before the loop listens to signals, or after it
        status = 130
    finally:
        os._exit(status)


def small_set(folder: Path, frames: int, val: int) -> Path:
    """A data set, of which the first frames are to validate on."""
    root = make_dataset(folder / "data", frames=frames)
    (root / "ImageSets/val.txt").write_text("".join(f"{frame:06d}\n" for frame in range(val)))
    return root


def begin(*words: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A door of the project, in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command, silent = [sys.executable, *words], subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=silent, stderr=stderr, start_new_session=True)


def run_of(folder: Path) -> int:
    """A run that saves at every step."""
    return 128 if train_in(folder, Regress(config(folder.parent, "train.save_minutes=0"))) else 0


def kill_and_resume(folder: Path, signals: int, rng: random.Random) -> None:
    """Sends that many signals to runs of folder/0, folder/1, ..., each until it is done."""
    run = sent = 0
    while True:
        process = start(lambda: run_of(folder / str(run)))  # noqa: B023 - it runs before `run` changes
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


def kill_and_compare(folder: Path, signals: int, rng: random.Random) -> None:
    """That many signals to a comparison of two variants, and what is trained by then stays as it is."""
    (folder / "recipe.yaml").write_text("phases: [{size: 32, epochs: 4, batch_size: 4}]\n")
    variants = "".join(f"  v{k}: {{optimizer: {{lr: 0.0{k + 1}}}}}\n" for k in range(2))
    (folder / "all.yaml").write_text(f"name: all\nrecipe: recipe.yaml\nbaseline: v0\nrounds: 1\nvariants:\n{variants}")
    words = ["train.precision=fp32", "train.threads=1", "train.save_minutes=0"]

    def all_of(runs: str) -> int:
        return compare({"brightness": Brightest()}, folder / "all.yaml", [*words, f"train.runs={folder / runs}"])

    trained: dict[Path, bytes] = {}
    status = 1
    while status:
        process = start(lambda: all_of("killed"))
        if signals:
            time.sleep(rng.uniform(0.05, 1.5))
            os.kill(process, rng.choice(SIGNALS))
            signals -= 1
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert status in (0, 128 + signal.SIGTERM, 130, -signal.SIGKILL)
        for last in sorted((folder / "killed").glob("all/*/last.pt")):
            checkpoint = load_checkpoint(last)  # whole at any moment
            if checkpoint.training["progress"]["epoch"] == 4:
                assert trained.setdefault(last, last.read_bytes()) == last.read_bytes(), f"{last} was trained again"
    assert all_of("whole") == 0
    for last in sorted((folder / "whole").glob("all/*/last.pt")):
        expected = load_checkpoint(last).model
        found = load_checkpoint(folder / "killed" / last.relative_to(folder / "whole")).model
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), last
    for runs in ("killed", "whole"):
        table = (folder / runs / "all/table.md").read_text()
        assert all(f"\n| v{k} | " in table for k in range(2))
    assert not list((folder / "killed").rglob(".*")), "parts of killed runs are left"


def test_a_comparison_and_two_signals(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, 2, random.Random(0))


@pytest.mark.slow
def test_a_comparison_and_thirty_signals(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, 30, random.Random(1))


def test_a_job_that_is_told_to_stop_with_all_its_processes_saves(tmp_path: Path) -> None:
    """Slurm and systemd send SIGTERM to every process: to the workers that load frames too."""
    root = small_set(tmp_path, 8, 1)
    (tmp_path / "job.yaml").write_text(
        f"name: job\ndata: {{root: '{root}', workers: 2, classes: auto}}\nnetwork: {{width: 0.125}}\n"
        "phases: [{size: 64, epochs: 500, batch_size: 2}]\n"
        f"train: {{runs: '{tmp_path}', precision: fp32, threads: 1, validate_every: 0}}\n"
    )
    process = begin("train.py", str(tmp_path / "job.yaml"), stderr=subprocess.PIPE)
    while process.poll() is None and not (tmp_path / "job/last.pt").exists():
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said and "killed by signal" not in said
    assert load_checkpoint(tmp_path / "job/last.pt").training["progress"]["epoch"] >= 1


@pytest.mark.slow
def test_compare_py_killed_twice_and_called_again(tmp_path: Path) -> None:
    """The door itself, with detectors and their evaluation."""
    root = small_set(tmp_path, 4, 2)
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{root: '{root}', workers: 0, classes: auto}}\nnetwork: {{width: 0.125}}\n"
        "phases: [{size: 64, epochs: 2, batch_size: 2}]\ntrain: {precision: fp32, threads: 1, save_minutes: 0}\n"
    )
    variants = "  none: {network: {attention: none}}\n  eca: {network: {attention: eca, placement: all}}\n"
    (tmp_path / "all.yaml").write_text(f"name: all\nrecipe: recipe.yaml\nrounds: 1\nvariants:\n{variants}")

    def comparing(runs: str) -> subprocess.Popen[bytes]:
        return begin("compare.py", str(tmp_path / "all.yaml"), f"train.runs={tmp_path / runs}")

    for trained in (1, 2):  # in the first variant, and in the second
        process = comparing("killed")
        while process.poll() is None and len(list((tmp_path / "killed").glob("all/*/last.pt"))) < trained:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert comparing("killed").wait() == 0
    assert comparing("whole").wait() == 0
    for last in sorted((tmp_path / "whole").glob("all/*/last.pt")):
        expected = load_checkpoint(last).model
        found = load_checkpoint(tmp_path / "killed" / last.relative_to(tmp_path / "whole")).model
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), last
    table = (tmp_path / "killed/all/table.md").read_text()
    assert "| none |" in table and "| eca |" in table
    assert not list((tmp_path / "killed").rglob(".*")), "parts of killed runs are left"


def test_five_signals(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 5, random.Random(0))


@pytest.mark.slow
def test_sixty_signals(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 60, random.Random(1))
