"""Global Context block. Cao et al.: "GCNet", ICCV Workshops 2019, arXiv:1904.11492."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, add_scaled, reduced
from backbones.attention.place import Place


class GlobalContext(nn.Module):
    """One context vector c = Σ_p softmax_p(w·x_p) x_p, transformed, changes x alike at every position p.

    t(c) = W2 ReLU(LayerNorm(W1 c)), W1 [C/r, C], W2 [C, C/r], with biases

    pooling     attention: as above; mean: c is the mean of x, without weights
    fusion      add: y = x + t(c);   scale: y = x ⊗ sigmoid(t'(c));   both: y = x ⊗ sigmoid(t'(c)) + t(c)

    W2 starts at zero, as published: `add` begins as the plain network, the others with every gate at 1/2.
    """

    def __init__(
        self,
        place: Place,
        *,
        reduction: int = 16,
        pooling: Literal["attention", "mean"] = "attention",
        fusion: Literal["add", "scale", "both"] = "add",
    ) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.mask = nn.Conv2d(channels, 1, kernel_size=1) if pooling == "attention" else None
        self.mean = GlobalMean()
        self.scale = transform(channels, hidden) if fusion != "add" else None
        self.transform = transform(channels, hidden) if fusion != "scale" else None

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        context = self._context(residual)
        if self.scale is None:
            total = residual + shortcut
        else:
            total = add_scaled(shortcut, residual, torch.sigmoid(self.scale(context)))
        if self.transform is None:
            return total
        return total + self.transform(context).to(residual.dtype)[:, :, None, None]

    def _context(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C]"""
        if self.mask is None:
            return self.mean(x)
        weights = self.mask(x).flatten(2).softmax(2)  # [B, 1, HW]
        return (x.flatten(2) @ weights.transpose(1, 2).to(x.dtype)).squeeze(2)


def transform(channels: int, hidden: int) -> nn.Sequential:
    last = nn.Linear(hidden, channels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True), last)
