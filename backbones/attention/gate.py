"""What a residual block asks of its attention: take the residual branch and the shortcut, give their sum.

Every module on a residual branch has `forward(residual, shortcut, taps) -> [B, C, H, W]`: the shortcut plus the
attended residual. Receiving both lets a module fold its scale into the addition, so that no scaled copy of the map is
ever written. `taps` carries squeezed maps for attention that reads more than its own map (seat.py); others ignore it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.attention.place import Place

Taps = list[Tensor]  # squeezed maps that a later reader reads, oldest first; each [B, C_j] or [B, C_j, S]


class PlainAdd(nn.Module):
    """No attention: the residual addition of the original ResNet."""

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return residual.add_(shortcut)  # in place, as torchvision does it


class GlobalMean(nn.Sequential):
    """[B, C, H, W] -> [B, C]"""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))


class ChannelGate(nn.Module):
    """Local channel attention: y = x ⊗ z with one number z = excite(squeeze(x)) in (0, 1) per image and channel.

    `squeeze` is a module without weights, [B, C, H, W] -> [B, C] (or [B, C, S] for S statistics a channel); the mean
    unless the subclass names another. The subclass gives `excite`.
    """

    make_squeeze: Callable[[], nn.Module] = GlobalMean

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.squeeze = type(self).make_squeeze()

    def excite(self, squeezed: Tensor) -> Tensor:
        """What `squeeze` gave -> the gate [B, C]."""
        raise NotImplementedError

    def gate(self, squeezed: Tensor, taps: Taps) -> Tensor:
        """What `squeeze` gave -> the gate [B, C], in its place in the network; this one reads no taps."""
        return self.excite(squeezed)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return add_scaled(shortcut, residual, self.gate(self.squeeze(residual), taps))


class SigmoidGate(ChannelGate):
    """A channel gate z = sigmoid(logits(squeeze(x))). The subclass gives `logits`."""

    def logits(self, squeezed: Tensor) -> Tensor:
        """What `squeeze` gave -> [B, C]."""
        raise NotImplementedError

    def excite(self, squeezed: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(squeezed))


def add_scaled(shortcut: Tensor, residual: Tensor, gate: Tensor) -> Tensor:
    """shortcut + residual ⊗ gate in one pass over the maps; gate is [B, C]."""
    # Statistics may be kept in float32 under autocast; a float32 gate would silently widen the whole map.
    return torch.addcmul(shortcut, residual, gate.to(residual.dtype)[:, :, None, None])


def reduced(channels: int, reduction: int) -> int:
    """Channels of the narrow layer between two wide ones: channels / reduction, rounded down."""
    if reduction > channels:
        raise ValueError(f"reduction={reduction} leaves nothing of {channels} channels: use {channels} or less")
    return channels // reduction
