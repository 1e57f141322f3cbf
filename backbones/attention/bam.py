"""Bottleneck Attention Module. Park et al.: "BAM", BMVC 2018, arXiv:1807.06514. Sits between stages, not in blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import reduced
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place


class BottleneckAttention(nn.Module):
    """y = x ⊗ (1 + sigmoid(channel(x) ⊗ spatial(x))), channel [B, C, 1, 1], spatial [B, 1, H, W]."""

    def __init__(self, place: Place, *, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(channels, hidden),
            VectorBatchNorm(hidden, "BAM"),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
        )
        self.spatial = dilated_score(channels, hidden, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]"""
        return torch.addcmul(x, x, torch.sigmoid(self.channel(x)[:, :, None, None] * self.spatial(x)))


def dilated_score(channels: int, hidden: int, dilation: int) -> nn.Sequential:
    """BAM's spatial logit, [B, C, H, W] -> [B, 1, H, W]."""
    return nn.Sequential(
        *(nn.Conv2d(channels, hidden, kernel_size=1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)),
        *dilated(hidden, dilation),
        *dilated(hidden, dilation),
        nn.Conv2d(hidden, 1, kernel_size=1),
    )


def dilated(channels: int, dilation: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, channels, kernel_size=3, padding=dilation, dilation=dilation)
    return conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
