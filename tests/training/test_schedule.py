"""The learning rate and the EMA decay, by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.ema import EMA
from training.schedule import ema_decay, poly_lr


def test_polynomial_decay_of_power_4_by_hand() -> None:
    assert poly_lr(0, 100, 0, 0.1, 4) == 0.1
    assert poly_lr(50, 100, 0, 0.1, 4) == pytest.approx(0.1 * 0.5**4)
    assert poly_lr(99, 100, 0, 0.1, 4) == pytest.approx(0.1 * 0.01**4)


def test_the_warm_up_rises_in_a_line_and_power_0_stays() -> None:
    assert [poly_lr(t, 100, 4, 1.0, 0) for t in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


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
