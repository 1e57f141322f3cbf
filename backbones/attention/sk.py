"""Selective kernel convolution. Li et al.: "Selective Kernel Networks", CVPR 2019, arXiv:1903.06586."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place

NARROWEST = 32  # channels of the narrow layer, whatever the reduction


class SelectiveKernel(nn.Module):
    """Two 3x3 convolutions, of dilation 1 and 2, and for every channel a share of each. Takes the place of a 3x3.

    U_i = ReLU(BN(conv_i(x)))                           i = 1, 2
    z   = ReLU(BN(W mean(U_1 + U_2)))                   W [d, C], d = max(C / reduction, 32)
    a_1, a_2 = softmax over the two of V z              V [2C, d]
    y   = a_1 ⊗ U_1 + a_2 ⊗ U_2

    groups          of the two convolutions, as published; with 2 the network has about as many parameters as the plain
                    ResNet, with 1 about half as many again
    """

    def __init__(self, place: Place, *, groups: int = 32, reduction: int = 16) -> None:
        super().__init__()
        common = math.gcd(place.inputs, place.inner)
        if common % groups:
            raise ValueError(f"groups={groups} do not divide {common} channels: use a power of 2, at most {common}")
        self.branches = nn.ModuleList(branch(place, groups, dilation) for dilation in (1, 2))
        hidden = max(NARROWEST, place.inner // reduction)
        self.mean = GlobalMean()
        narrow = nn.Linear(place.inner, hidden, bias=False)
        self.reduce = nn.Sequential(narrow, VectorBatchNorm(hidden, "sk"), nn.ReLU(inplace=True))
        self.select = nn.Linear(hidden, 2 * place.inner, bias=False)
        for linear in (narrow, self.select):
            nn.init.normal_(linear.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (branch(x) for branch in self.branches)
        of_first, of_second = self.select(self.reduce(self.mean(first) + self.mean(second))).chunk(2, dim=1)
        return mixed(first, second, of_first - of_second)


def branch(place: Place, groups: int, dilation: int) -> nn.Sequential:
    conv = nn.Conv2d(
        place.inputs, place.inner, 3, place.stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, nn.BatchNorm2d(place.inner), nn.ReLU(inplace=True))


def mixed(first: Tensor, second: Tensor, difference: Tensor) -> Tensor:
    """a ⊗ first + (1 - a) ⊗ second in one pass; the softmax of two logits is the sigmoid of their difference [B, C]."""
    share = torch.sigmoid(difference).to(first.dtype)[:, :, None, None]
    return torch.lerp(second, first, share)
