"""What a residual block asks of its attention: take the residual branch and the shortcut, give their sum.

Every attention module has `forward(residual, shortcut, taps) -> [B, C, H, W]`, the shortcut plus the attended residual.
Receiving both lets a module fold its scale into the addition, so that no scaled copy of the map is ever written.
`taps` carries squeezed maps from block to block for attention across scales (see emca.py); local attention ignores it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Taps = list[Tensor]  # squeezed maps that a later stage reads, oldest first; each [B, C_j] or [B, C_j, S]


class PlainAdd(nn.Module):
    """No attention: the residual addition of the original ResNet."""

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return residual.add_(shortcut)  # in place, as torchvision does it


class ChannelGate(nn.Module):
    """Local channel attention: y = x ⊗ z with one number z = excite(squeeze(x)) in (0, 1) per image and channel.

    `squeeze` is a module without weights, [B, C, H, W] -> [B, C] (or [B, C, S] for S statistics a channel); the mean
    unless the subclass brings another. The subclass gives `excite`.
    """

    def __init__(self, squeeze: nn.Module | None = None) -> None:
        super().__init__()
        self.squeeze = squeeze or nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))

    def excite(self, squeezed: Tensor) -> Tensor:
        """What `squeeze` gave -> the gate [B, C]."""
        raise NotImplementedError

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return add_scaled(shortcut, residual, self.excite(self.squeeze(residual)))


def add_scaled(shortcut: Tensor, residual: Tensor, gate: Tensor) -> Tensor:
    """shortcut + residual ⊗ gate in one pass over the maps; gate is [B, C]."""
    # Statistics may be kept in float32 under autocast; a float32 gate would silently widen the whole map.
    return torch.addcmul(shortcut, residual, gate.to(residual.dtype)[:, :, None, None])
