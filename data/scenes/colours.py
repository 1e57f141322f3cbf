"""Colours of paint, cloth and glass, RGB in 0..255."""

from __future__ import annotations

import colorsys

import numpy as np

Colour = tuple[float, float, float]

TYRE, HUB, GLASS, SKY_IN_GLASS, DARK = (24, 24, 26), (150, 152, 156), (30, 36, 44), (92, 106, 122), (38, 38, 41)
HEADLIGHT, TAIL_LIGHT, PLATE = (232, 236, 240), (186, 22, 24), (226, 224, 212)
_PAINTS: tuple[Colour, ...] = (
    *((232, 233, 234), (222, 224, 226), (186, 190, 194), (168, 171, 176), (128, 131, 136), (92, 95, 100)),
    *((62, 64, 68), (36, 37, 40), (30, 31, 34), (26, 40, 78), (44, 72, 128), (88, 122, 160), (150, 24, 28)),
    *((178, 40, 34), (104, 20, 30), (36, 74, 54), (92, 110, 84), (196, 178, 138), (112, 92, 70), (212, 170, 44)),
)


def vivid(rng: np.random.Generator, saturation: tuple[float, float] = (0.3, 0.8), value: float = 0.9) -> Colour:
    """Any hue."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(value / 3, value))
    return (red * 255, green * 255, blue * 255)


def paint_of_a_car(rng: np.random.Generator) -> Colour:
    """Mostly white, grey and black, as on the road; now and then any hue."""
    return vivid(rng) if rng.random() < 0.15 else _PAINTS[rng.integers(len(_PAINTS))]


def shaded(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
