"""Stretch or letterbox an image to the network's size, and boxes there and back: one place for train, eval, detect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image was placed in the network input: x' = x * scale_x + offset_x, likewise y. Sizes are (height, width)."""

    source: tuple[int, int]
    target: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
