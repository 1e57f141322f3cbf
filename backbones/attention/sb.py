"""Shift and balance attention. Luo et al.: "Shift-and-Balance Attention", arXiv:2103.13080."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, reduced
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place


class ShiftAndBalance(nn.Module):
    """y = x + λ ⊗ tanh(BN(W2 ReLU(BN(W1 mean(x))))): one number a channel, added at every position.

    x [B, C, H, W], W1 [C/r, C] and W2 [C, C/r] with biases, λ [C]; r is `reduction`. The authors published no code:
    this is what a third party's has, but for the start. There λ is drawn from N(0, 1); here it is 0, so that the
    network starts as the plain ResNet.
    """

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.squeeze = GlobalMean()
        self.shift = nn.Sequential(
            nn.Linear(channels, hidden),
            VectorBatchNorm(hidden, "Shift-and-balance"),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
            VectorBatchNorm(channels, "Shift-and-balance"),
            nn.Tanh(),
        )
        self.balance = nn.Parameter(torch.zeros(channels))

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        shift = self.balance * self.shift(self.squeeze(residual))
        return residual + shortcut + shift.to(residual.dtype)[:, :, None, None]
