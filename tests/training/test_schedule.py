"""The learning rate and the EMA decay, by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.config import ConfigError, RunConfig
from training.ema import EMA
from training.schedule import Schedule, ema_decay


def rates(steps_of_phase: list[int], epochs: list[int], **optimizer: object) -> list[float]:
    """The rate of every step of a run whose phases have so many epochs of so many steps."""
    values = {"task": "any", "name": "any", "phases": [{"epochs": n} for n in epochs]}
    config = RunConfig.parse({**values, "optimizer": {"warmup_epochs": 0, **optimizer}}, "here")
    schedule = Schedule(config, steps_of_phase)
    return [schedule.lr(step) for step in range(schedule.total_steps)]


def test_polynomial_decay_of_power_4_by_hand() -> None:
    lr = rates([100], [1], lr=0.1, power=4)
    assert lr[0] == 0.1
    assert lr[50] == pytest.approx(0.1 * 0.5**4)
    assert lr[99] == pytest.approx(0.1 * 0.01**4)


def test_the_warm_up_rises_in_a_line_and_power_0_stays() -> None:
    assert rates([4], [2], lr=1.0, power=0, warmup_epochs=1)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    expected = []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates([4], [3], lr=0.2, schedule="cosine") == pytest.approx(expected)


def test_steps_fall_after_their_epochs_whatever_the_length_of_an_epoch() -> None:
    lr = rates([2, 3], [2, 2], lr=1.0, schedule="steps", milestones=[1, 3], gamma=0.5, warmup_epochs=1)
    assert lr == [0.5, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]  # epochs of 2, 2, 3, 3 steps


@pytest.mark.parametrize("milestones", [[1, 3], []])
def test_milestones_that_never_come_are_refused(milestones: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"milestones \[.*\]: schedule steps needs some, all before epoch 3"):
        rates([2], [3], schedule="steps", milestones=milestones)


def test_the_average_follows_the_formula_and_copies_whole_numbers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = EMA(model, decay=0.9)
    before = copy.deepcopy(ema.model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model(torch.randn(4, 2))  # moves running statistics and num_batches_tracked
    ema.update(model)
    decay = ema_decay(1, 0.9)
    for name, value in ema.model.state_dict().items():
        new = model.state_dict()[name]
        expected = decay * before[name] + (1 - decay) * new if new.is_floating_point() else new
        torch.testing.assert_close(value, expected)


def test_the_average_forgets_the_random_start() -> None:
    assert ema_decay(1, 0.999) < 0.01
    assert ema_decay(5000, 0.999) == pytest.approx(0.999, abs=1e-3)
