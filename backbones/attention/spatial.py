"""Spatial logits, one number a position: [B, C, H, W] -> [B, 1, H, W]. Parts of hybrids."""

from __future__ import annotations

from typing import Literal

from torch import nn

from backbones.attention.bam import dilated_score
from backbones.attention.cbam import PositionScore
from backbones.attention.gate import reduced
from backbones.attention.place import Place

Spatial = Literal["cbam", "sse", "bam"]


def spatial_score(kind: Spatial, place: Place) -> nn.Module:
    """cbam    largest and mean over the channels, a 7x7 convolution, BatchNorm
    sse     a 1x1 convolution with bias, as the spatial half of scSE (Roy et al., MICCAI 2018, arXiv:1803.02579)
    bam     1x1 to C/16, two 3x3 of dilation 4, 1x1
    """
    if kind == "cbam":
        return PositionScore()
    if kind == "sse":
        return nn.Conv2d(place.channels, 1, kernel_size=1)
    return dilated_score(place.channels, reduced(place.channels, 16), dilation=4)
