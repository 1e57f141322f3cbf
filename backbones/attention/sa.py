"""Shuffle attention. Zhang, Yang: "SA-Net", ICASSP 2021, arXiv:2102.00240."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import Taps
from backbones.attention.mean import MapMean
from backbones.attention.place import Place

EPSILON = 1e-5


class ShuffleAttention(nn.Module):
    """G groups of channels, each cut in halves a and b; then the channels are shuffled.

    a ← a ⊗ sigmoid(w_c · mean(a) + b_c)                one number per channel
    b ← b ⊗ sigmoid(w_s · norm(b) + b_s)                one number per element; norm: each channel over its positions
    y[2j + i] = (all groups' [a, b])[i · C/2 + j]       i = 0, 1

    The six vectors w_c, b_c, w_s, b_s and the norm's weight and bias have C/2G entries and serve all groups. As
    published, every gate starts at sigmoid(1) = .73. The channels are shuffled as the shortcut is added, by strides.

    groups          G; C/2 where that is less (the published 64 is too many for 64 channels)
    """

    def __init__(self, place: Place, *, groups: int = 64) -> None:
        super().__init__()
        self.groups = min(groups, place.channels // 2)
        if place.channels % (2 * self.groups):
            raise ValueError(f"groups={groups} do not cut {place.channels} channels in equal halves: use a power of 2")
        self.mean = MapMean()
        shape = place.channels // (2 * self.groups)
        self.channel_weight, self.channel_bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.ones(shape))
        self.spatial_weight, self.spatial_bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.ones(shape))
        self.norm_weight, self.norm_bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        a, b = residual.unflatten(1, (self.groups, 2, -1)).unbind(2)  # [B, G, C/2G, H, W] each
        gate = torch.stack((self._channel_gate(a).expand_as(a), self._position_gate(b)), dim=2).flatten(1, 3)
        pairs = shortcut.unflatten(1, (-1, 2))  # [B, C/2, 2, H, W]
        return torch.addcmul(pairs, shuffled(residual), shuffled(gate)).flatten(1, 2)

    def _channel_gate(self, a: Tensor) -> Tensor:
        return torch.sigmoid(self.mean(a) * self._each(self.channel_weight, a) + self._each(self.channel_bias, a))

    def _position_gate(self, b: Tensor) -> Tensor:
        """The norm's own affine map and the gate's are one: scale · (b - mean) / deviation + shift."""
        wide = b.to(torch.promote_types(b.dtype, torch.float32))  # 8 bits of a bfloat16 mantissa are few for a variance
        mean = wide.mean((3, 4), keepdim=True)
        variance = (wide - mean).square().mean((3, 4), keepdim=True)
        scale = self._each(self.spatial_weight * self.norm_weight, wide) * torch.rsqrt(variance + EPSILON)
        shift = self._each(self.spatial_weight * self.norm_bias + self.spatial_bias, wide) - mean * scale
        return torch.sigmoid(torch.addcmul(shift.to(b.dtype), b, scale.to(b.dtype)))

    @staticmethod
    def _each(vector: Tensor, like: Tensor) -> Tensor:
        return vector.to(like.dtype)[:, None, None]


def shuffled(x: Tensor) -> Tensor:
    """[B, C, H, W] -> a view [B, C/2, 2, H, W] in the new order of the channels."""
    return x.unflatten(1, (2, -1)).transpose(1, 2)
