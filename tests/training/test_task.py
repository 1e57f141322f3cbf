"""The loop with a task of forty lines: it regresses the brightness of an image, and knows nothing of detection."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from data.batches import BatchSampler
from training.checkpoint import CheckpointError, load_checkpoint
from training.config import ConfigError, RunConfig
from training.distributed import World
from training.run import train_in, train_run
from training.task import Task, Validation
from training.trainer import Trainer


class Brightness(RunConfig):
    task: Literal["brightness"] = "brightness"
    name: str = "toy"


class Greys(NamedTuple):
    images: Tensor  # [B, 3, H, W] uint8, grey
    ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> Greys:
        return Greys(self.images.to(device), self.ids)


class Regress(Task[Brightness]):
    name: ClassVar[str] = "brightness"
    config_type: ClassVar[type[RunConfig]] = Brightness
    train_count = 12

    def batches(self, sampler: BatchSampler, pin_memory: bool) -> list[Greys]:
        class Epoch(list):
            def __iter__(self):
                for requests in sampler:
                    values = torch.tensor([20 * request.frame for request in requests], dtype=torch.uint8)
                    images = values[:, None, None, None].expand(-1, 3, *requests[0].size).contiguous()
                    yield Greys(images, tuple(str(request.frame) for request in requests))

        return Epoch()

    def build(self) -> nn.Module:
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 1, 1)
        return nn.Sequential(Scaled(), *layers)

    def loss(self, network: nn.Module, outputs: Tensor, batch: Greys) -> dict[str, Tensor]:
        error = (outputs.flatten() - batch.images.float().mean((1, 2, 3)) / 255).square().mean()
        return {"error": error, "total": error}

    def example(self, count: int, size: tuple[int, int]) -> Greys:
        return Greys(torch.zeros(count, 3, *size, dtype=torch.uint8), ())

    def validate(self, network: nn.Module, precision: str, world: World) -> Validation:
        with torch.no_grad():
            guess = float(network.eval()(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)))
        return Validation(-abs(guess - 100 / 255), {"guess": guess}, f"100 looks like {255 * guess:.0f}")


class Scaled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


def config(folder: Path, *more: str) -> Brightness:
    words = ["train.precision=fp32", "train.threads=1", "train.ema=0", "optimizer.power=1", f"train.runs={folder}"]
    return Brightness(phases=({"size": 32, "epochs": 20, "batch_size": 4},)).override([*words, *more])


def train(folder: Path, *more: str) -> None:
    assert Trainer(Regress(config(folder, *more)), folder, World()).run() == 0


def test_it_learns_and_leaves_what_every_run_leaves(tmp_path: Path) -> None:
    train(tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and float(rows[-1]["loss_error"]) < 0.1 * float(rows[0]["loss_error"])
    assert abs(float(rows[-1]["guess"]) - 100 / 255) < 0.1
    for name in ("best.pt", "last.pt", "config.yaml", "losses.png", "validation.png", "lr.png"):
        assert (tmp_path / name).stat().st_size > 0, name
    assert load_checkpoint(tmp_path / "best.pt").task == "brightness"


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "whole")
    step, steps = Trainer.step, []

    def interrupted(self: Trainer, batches: list[Greys]) -> dict[str, float]:
        steps.append(self.progress.step)
        if len(steps) == 25:  # in the middle of an epoch
            signal.raise_signal(signal.SIGTERM)
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", interrupted)
    task, folder = Regress(config(tmp_path)), tmp_path / "halves"
    assert train_in(folder, task) == signal.SIGTERM
    assert train_in(folder, task) == 0
    assert steps == list(range(60))
    one, other = (load_checkpoint(tmp_path / name / "last.pt").model for name in ("whole", "halves"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_config_says_which_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "toy.yaml"
    phases = "phases: [{size: 32, epochs: 1, batch_size: 4}]"
    path.write_text(f"task: brightness\n{phases}\ntrain: {{runs: {tmp_path}}}\n")
    tasks = {"another": Task, "brightness": Regress}
    assert train_run(tasks, str(path), ["train.precision=fp32"], None, "mine") == 0
    assert "validation.png" in capsys.readouterr().out
    assert (tmp_path / "mine" / "best.pt").exists()
    assert train_run(tasks, None, [], str(tmp_path / "mine"), None) == 0  # and so does a checkpoint
    path.write_text("task: bright\n")
    with pytest.raises(ValueError, match="unknown task 'bright': did you mean 'brightness'"):
        train_run(tasks, str(path), [], None, None)


def test_settings_of_a_task_are_checked_as_all_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown setting optimizer\.lrr; did you mean optimizer\.lr"):
        config(tmp_path, "optimizer.lrr=1")


def test_training_loads_nothing_of_the_detector() -> None:
    told = "import sys, training.run; print([m for m in sys.modules if m.split('.')[0] in ('detector', 'classifier')])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stderr


def test_last_is_saved_where_best_could_not_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "best.pt").mkdir()  # nothing can take its place
    with suppress(CheckpointError):  # should the last epoch be the best one
        train(tmp_path)
    assert load_checkpoint(tmp_path / "last.pt").training["progress"]["epoch"] == 20
    assert f"warning: {tmp_path}/best.pt: could not be saved" in capsys.readouterr().err


def without_progress(state: dict[str, Any]) -> None:
    del state["progress"]


def negative_step(state: dict[str, Any]) -> None:
    state["progress"]["step"] = -1


def without_a_weight(state: dict[str, Any]) -> None:
    state["network"].popitem()


def no_optimizer(state: dict[str, Any]) -> None:
    state["optimizer"] = [1]


def short_random_state(state: dict[str, Any]) -> None:
    state["rng"]["cpu"] = torch.zeros(3, dtype=torch.uint8)


@pytest.mark.parametrize(
    "damage", [without_progress, negative_step, without_a_weight, no_optimizer, short_random_state]
)
def test_a_state_that_does_not_fit_is_told(tmp_path: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    task = Regress(config(tmp_path, "phases.0.epochs=1"))
    trainer = Trainer(task, tmp_path, World())
    trainer.save()
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    damage(checkpoint.training)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot go on from it"):
        Trainer(task, tmp_path, World(), checkpoint)
