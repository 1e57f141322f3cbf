"""What makes attention cheap must not change what it computes."""

from __future__ import annotations

import pytest
import torch
from places import place

from backbones.attention import CATALOGUE
from backbones.attention.fca import FrequencySqueeze
from backbones.attention.gate import ChannelGate
from backbones.attention.seat import Seat
from backbones.attention.srm import MeanAndStd

GATES = [
    name
    for name, entry in CATALOGUE.items()
    if entry.seat is Seat.RESIDUAL and entry.placements and isinstance(entry.build(place(64)), ChannelGate)
]


@pytest.mark.parametrize("name", GATES)
def test_the_scale_folded_into_the_addition_gives_the_same_sum(name: str) -> None:
    torch.manual_seed(0)
    module = CATALOGUE[name].build(place(64))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    residual, shortcut = torch.randn(2, 2, 64, 14, 14)
    gate = module.eval().excite(module.squeeze(residual))
    expected = shortcut + residual * gate[:, :, None, None]
    torch.testing.assert_close(module(residual, shortcut, []), expected)


def test_a_network_cast_to_bfloat16_reads_the_same_frequencies() -> None:
    x = torch.randn(1, 64, 20, 50, generator=torch.Generator().manual_seed(0))
    squeeze = FrequencySqueeze(64, 14, "top16")
    expected = squeeze(x)
    torch.testing.assert_close(squeeze.bfloat16()(x), expected)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_the_standard_deviation_is_right_however_far_the_mean(mean: float) -> None:
    x = (torch.randn(2, 8, 31, 33, generator=torch.Generator().manual_seed(0)) * 0.5 + mean).requires_grad_()
    style = MeanAndStd()(x)
    style[..., 1].sum().backward()
    wide = x.detach().double().requires_grad_()
    expected = torch.sqrt(wide.var((2, 3)) + 1e-5)
    expected.sum().backward()
    torch.testing.assert_close(style[..., 0].double(), wide.mean((2, 3)), atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(style[..., 1].double(), expected, atol=0, rtol=1e-3)
    torch.testing.assert_close(x.grad.double(), wide.grad, atol=1e-5, rtol=1e-2)


def test_a_constant_map_and_a_map_of_one_pixel_have_finite_statistics_and_gradients() -> None:
    for side in (1, 5):
        x = torch.full((2, 3, side, side), 7.0, requires_grad=True)
        style = MeanAndStd()(x)
        style.sum().backward()
        torch.testing.assert_close(style.detach(), torch.tensor([7.0, 1e-5**0.5]).expand(2, 3, 2))
        assert x.grad is not None and x.grad.isfinite().all()


def test_statistics_of_a_bfloat16_map_are_taken_in_float32() -> None:
    x = (torch.randn(1, 4, 56, 56) + 3).bfloat16()
    torch.testing.assert_close(MeanAndStd()(x), MeanAndStd()(x.float()))
