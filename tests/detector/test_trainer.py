"""The step and what surrounds it, in one process."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
import torch

from data.batches import Batch, Targets
from detector.config import Config
from detector.task import DetectionTask
from training.checkpoint import load_checkpoint
from training.distributed import World
from training.memory import MemoryTooSmall, try_largest_step
from training.parameters import make_optimizer
from training.trainer import Trainer, TrainingError

ALONE = World(0, 1, torch.device("cpu"))


def trainer(config_file: Path, folder: Path, *overrides: str) -> Trainer:
    return Trainer(DetectionTask(Config.load(config_file, overrides)), folder, ALONE)


def first_batch(of: Trainer) -> list[Batch]:
    return next(of.micro_batches(0))


def objectness_bias(of: Trainer, value: float) -> None:
    """Of the first anchor at stride 8: nan there makes every step's objectness nan."""
    with torch.no_grad():
        of.network.heads[0][-1].bias[4] = value


def test_a_step_that_is_not_finite_changes_neither_weights_nor_statistics(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path)
    run.network.train()
    batches = first_batch(run)
    with torch.no_grad():  # an input that also ruins the forward pass, and so BatchNorm's statistics
        run.network.backbone.conv1.weight[0, 0, 0, 0] = math.inf
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.step(batches)
    after = run.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (run.progress.skipped, run.progress.bad_in_a_row) == (1, 1)


def test_training_stops_after_a_few_bad_steps_and_names_parts_and_frames(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path, "train.bad_steps=2")
    run.network.train()
    objectness_bias(run, math.nan)
    batches = first_batch(run)
    run.step(batches)
    with pytest.raises(TrainingError) as caught:
        run.step(batches)
    assert "2 steps in a row" in str(caught.value)
    assert all(frame in str(caught.value) for frame in batches[0].ids)
    assert "objectness nan" in str(caught.value)


def test_a_good_step_forgives_the_bad_ones_before_it(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path)
    run.network.train()
    objectness_bias(run, math.nan)
    run.step(first_batch(run))
    objectness_bias(run, -4.0)
    run.step(first_batch(run))
    assert (run.progress.skipped, run.progress.bad_in_a_row) == (1, 0)


def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch(tiny_config: Path, tmp_path: Path) -> None:
    """BatchNorm sees micro-batches, so it is switched to its running statistics for the comparison."""
    whole = trainer(tiny_config, tmp_path, "optimizer.clip_norm=0")
    halves = trainer(tiny_config, tmp_path, "optimizer.clip_norm=0", "train.accumulate=2")
    for run in (whole, halves):
        run.network.eval()
    batch, parts = first_batch(whole), first_batch(halves)
    assert [frame for part in parts for frame in part.ids] == list(batch[0].ids)
    whole.step(batch)
    halves.step(parts)
    for one, other in zip(whole.network.parameters(), halves.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_weight_decay_spares_batch_norm_and_biases(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path)
    optimizer = make_optimizer(run.network, run.network.backbone, run.config.optimizer)
    decayed, spared = (group["params"] for group in optimizer.param_groups)
    assert min(p.ndim for p in decayed) > 1
    assert max(p.ndim for p in spared) == 1
    assert len(decayed) + len(spared) == len(list(run.network.parameters()))


def test_the_backbone_moves_at_its_share_of_the_rate(tiny_config: Path, tmp_path: Path) -> None:
    """Under AdamW the first step of a weight is the rate itself, whatever its gradient."""
    adamw = ("optimizer.kind=adamw", "optimizer.weight_decay=0", "optimizer.warmup_epochs=0", "train.precision=fp32")
    run = trainer(tiny_config, tmp_path, *adamw, "optimizer.lr=0.01", "optimizer.backbone_rate=0.1")
    before = {name: value.detach().clone() for name, value in run.network.named_parameters()}
    run.network.train()
    run.step(first_batch(run))
    for name, value in run.network.named_parameters():
        moved = float((value.detach() - before[name]).abs().max())
        assert moved == pytest.approx(0.001 if name.startswith("backbone.") else 0.01, rel=0.02), name


def test_frozen_parts_stay_as_they_were(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path, "train.freeze_stem=true", "train.freeze_bn=true", "train.precision=fp32")
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.train_epoch()
    after = run.network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1"))]
    assert not [name for name in moved if name.startswith("backbone") and "running_" in name]
    assert [name for name in moved if name.startswith("backbone.layer4")]


def test_trying_the_largest_step_leaves_no_trace(tiny_config: Path, tmp_path: Path) -> None:
    run = trainer(tiny_config, tmp_path)
    run.network.train()
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    try_largest_step(run.task, run.network, [2, 2], "fp32")
    assert all(torch.equal(before[name], value) for name, value in run.network.state_dict().items())
    assert all(p.grad is None for p in run.network.parameters())


def test_too_little_memory_is_told_before_training_with_what_to_lower(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tiny_config, tmp_path)

    def out_of_memory(images: torch.Tensor, targets: Targets) -> list[torch.Tensor]:
        if images.shape != (2, 3, 64, 128):  # the larger of the two phases
            return []
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.network, "forward", out_of_memory)
    with pytest.raises(MemoryTooSmall, match=r"2 images of 64x128 .* lower phases\.N\.batch_size"):
        try_largest_step(run.task, run.network, [2, 2], "fp32")


def test_a_run_ends_early_when_patience_is_spent(tiny_config: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing every validation equals the first, and equal is not better."""
    run = trainer(
        tiny_config, tmp_path, "train.patience=1", "train.validate_every=1", "phases.1.epochs=9", "optimizer.lr=1e-12"
    )
    run.run()
    assert run.progress.epoch == 2


def test_the_time_left_counts_the_pixels_of_the_phases_to_come(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sizes = "phases=[{size: 64, epochs: 2, batch_size: 8}, {size: [64, 128], epochs: 3, batch_size: 4}]"
    run = trainer(tiny_config, tmp_path, two_sizes)
    told: list[float] = []
    monkeypatch.setattr(run.log, "end_epoch", lambda row, epochs, seconds_left, validation: told.append(seconds_left))
    for seconds in (10, 10, 20, 20, 30):
        run.progress.sums["seconds"] = seconds
        run.finish_epoch(None)
    assert told == [10 * (1 + 3 * 2), 10 * 3 * 2, 20 * 2, 20, 0]


def test_told_to_stop_while_validating_it_stops_there_and_validates_again_when_resumed(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train.validate_every=1", "phases=[{size: 64, epochs: 1, batch_size: 3}]")
    run = trainer(tiny_config, tmp_path, *words)

    def validate(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr(run.task, "validate", validate)
    assert run.run() == signal.SIGTERM
    config = Config.load(tiny_config, words)
    resumed = Trainer(DetectionTask(config), tmp_path, ALONE, load_checkpoint(tmp_path / "last.pt"))
    assert (resumed.progress.epoch, resumed.progress.step_in_epoch) == (0, 3)
    monkeypatch.setattr(resumed, "step", lambda _: pytest.fail("no step is left"))
    assert resumed.run() == 0 and "mAP50" in (tmp_path / "metrics.csv").read_text()
