"""Pixels as the backbones want them: normalised as for ImageNet."""

from __future__ import annotations

MEAN = (123.675, 116.28, 103.53)  # of RGB in 0..255
STD = (58.395, 57.12, 57.375)
