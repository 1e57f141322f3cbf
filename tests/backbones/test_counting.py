"""Multiply-adds that no layer reports, each counted once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import build_backbone
from backbones.counting import count_macs

B, C, H, W = 1, 3, 4, 5  # every network below gets a [1, 3, 4, 5] image


class Computes(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.unused = nn.Parameter(torch.zeros(1))  # tells the device

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)


def attend(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def attend_fused(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2).contiguous()[:, None]  # of one head: what a CPU has a kernel of its own for
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("compute", "macs"),
    [
        (lambda x: x.view(C * H, W) @ x.view(W, C * H), C * H * W * C * H),
        (lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2), C * C * H * W),
        (lambda x: torch.einsum("bchw,bdhw->bcd", x, x), C * C * H * W),
        (lambda x: x.view(C, H * W) @ x.view(-1)[: H * W], C * H * W),
        (lambda x: x.view(-1) @ x.view(-1), C * H * W),
        (lambda x: F.linear(x, torch.ones(7, W, device=x.device), torch.ones(7, device=x.device)), C * H * W * 7),
        (lambda x: F.conv2d(x, torch.ones(2, C, 1, 1, device=x.device)), C * H * W * 2),
        (lambda x: torch.baddbmm(x[0], x[0], torch.ones(C, W, W, device=x.device)), C * H * W * W),
        (attend, 2 * (H * W) ** 2 * C),
        (attend_fused, 2 * (H * W) ** 2 * C),
        (lambda x: torch.relu(x + x).softmax(1) * x, 0),
    ],
)
def test_products_outside_of_layers_count_their_multiply_adds(
    compute: Callable[[Tensor], Tensor], macs: int, device: str
) -> None:
    assert count_macs(Computes(compute).to(device), (H, W)) == macs


def test_what_a_layer_computes_is_counted_once() -> None:
    class Doubling(nn.Linear):
        """A layer of another class counts as the layer that it is, also with layers inside."""

        def __init__(self) -> None:
            super().__init__(W, 7)
            self.within = nn.Linear(7, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.within(super().forward(x))

    assert count_macs(nn.Sequential(nn.Conv2d(C, 2, 1), nn.Linear(W, 7)), (H, W)) == H * W * C * 2 + 2 * H * W * 7
    assert count_macs(Doubling(), (H, W)) == C * H * W * 7


def test_the_context_of_gc_and_the_coefficients_of_fca_are_counted() -> None:
    """One read of each map in a product with one vector: C · H · W, for every block at 224 pixels."""
    maps = sum(blocks * 64 * 2**stage * (56 >> stage) ** 2 for stage, blocks in enumerate((2, 2, 2, 2)))
    with torch.device("meta"):
        plain = count_macs(build_backbone("resnet18", "none"))
        gc = count_macs(build_backbone("resnet18", "gc:placement=all"))
        fca = count_macs(build_backbone("resnet18", "fca:placement=all"))
    layers = sum(2 * 2 * c * (c // 16) for c in (64, 128, 256, 512))  # two linear layers in two blocks a stage
    assert fca - plain == maps + layers
    assert gc - plain == 2 * maps + layers  # the mask's 1x1 convolution reads the map as well
