"""Whole trainings through train.py: it learns, resumes to the same bits, is shared by two processes."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from coloured_pictures import write_config

from backbones.pretrained import load_pretrained
from classifier.config import Config
from classifier.task import ClassificationTask
from classifier.trained import load_trained
from detector.inference.trained import load_trained as load_detector
from detector.network.build import build_detector
from detector.network.settings import NetworkSettings
from training.checkpoint import CheckpointError, load_checkpoint
from training.distributed import World
from training.run import train_in
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def door(*words: object, status: int = 0) -> str:
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=300)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, colours_root: Path) -> tuple[Path, Path]:
    """(config, run folder) of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_config(folder, colours_root)
    assert Trainer(ClassificationTask(Config.load(config)), folder / "run", World()).run() == 0
    return config, folder / "run"


def test_it_learns_and_leaves_what_every_run_leaves(whole_run: tuple[Path, Path]) -> None:
    _, folder = whole_run
    for name in ("best.pt", "last.pt", "config.yaml", "losses.png", "accuracy.png", "lr.png"):
        assert (folder / name).stat().st_size > 0, name
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["top1"]) > 60 and float(rows[-1]["top5"]) == 100  # of three colours, 33 is chance
    trained = load_trained(folder / "best.pt")
    assert trained.classes == ("blue", "green", "red")
    assert trained.build()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    with pytest.raises(CheckpointError, match=r"of the task 'classification', which finds no objects; .*evaluate\.py"):
        load_detector(folder / "best.pt")


def test_what_is_trained_and_on_what_is_said(whole_run: tuple[Path, Path]) -> None:
    network, data = ClassificationTask(Config.load(whole_run[0], ["network.stem=small"])).describe()
    assert network == "resnet18 eca, small stem"
    assert data == "24 pictures of 3 classes to train, 12 to validate"


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    whole_run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.load(whole_run[0])
    step, steps = Trainer.step, []

    def interrupted(self: Trainer, batches: list) -> dict[str, float]:
        steps.append(self.progress.step)
        if len(steps) == 5:  # in the middle of the second epoch
            signal.raise_signal(signal.SIGTERM)
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", interrupted)
    without_validations = config.override(["train.validate_every=0"])
    assert train_in(tmp_path / "halves", ClassificationTask(without_validations)) == signal.SIGTERM
    with_workers = config.override(["data.workers=1", "data.cache=none"])
    assert train_in(tmp_path / "halves", ClassificationTask(with_workers)) == 0
    assert steps == list(range(9))
    one, other = (load_checkpoint(folder / "last.pt").model for folder in (whole_run[1], tmp_path / "halves"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_validate_as_one(tiny_config: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py")
    door(*torchrun, tiny_config, "phases.0.epochs=1", "train.sync_bn=false")
    metrics = load_checkpoint(tmp_path / "runs" / "tiny" / "best.pt").metrics
    alone = ClassificationTask(Config.load(tiny_config))
    network = load_trained(tmp_path / "runs" / "tiny" / "best.pt").build()
    assert alone.validate(network, "fp32", World()).score == pytest.approx(metrics["score"])


def test_a_detector_starts_from_a_classifier(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    config, folder = Config.load(whole_run[0]), whole_run[1]
    trained = load_checkpoint(folder / "best.pt").model

    backbone = build_detector(NetworkSettings(attention="eca"), 3).backbone
    report = load_pretrained(backbone, folder / "best.pt")
    assert report.fresh == () and set(report.unused) == {"fc.weight", "fc.bias"}
    own = backbone.state_dict()
    assert all(torch.equal(own[name], trained[f"backbone.{name}"]) for name in own)

    more = shutil.copytree(Path(config.data.root), tmp_path / "more")  # a classifier of four classes starts from it too
    for split in ("train", "val"):
        shutil.copytree(more / split / "red", more / split / "violet")
    wider = ClassificationTask(config.override([f"data.root={more}", f"network.pretrained={folder / 'best.pt'}"]))
    network = wider.build()
    assert "of another shape, starting fresh: fc.weight, fc.bias" in wider.start(network)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, trained["backbone.layer4.1.conv2.weight"])


def test_an_attention_with_logits_of_its_own_trains_on_both(tiny_config: Path) -> None:
    task = ClassificationTask(Config.load(tiny_config, ["network.attention=abn"]))
    network, batch = task.build(), task.example(2, (32, 32))
    losses = task.loss(network, network.train()(batch.images), batch)
    assert losses["total"] == losses["class"] + losses["attention"]
    assert network.eval()(batch.images).shape == (2, 3)
