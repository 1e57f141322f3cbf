"""What stands beside the road: houses, trees, hedges, lamps, signs, benches."""

from __future__ import annotations

from math import pi

import numpy as np

from data.scenes.colours import DARK, GLASS, Colour, shaded, vivid
from data.scenes.shapes import Face, Ring, Shape

_WALLS: tuple[Colour, ...] = (
    *((206, 194, 170), (190, 176, 156), (214, 206, 192), (168, 150, 130), (178, 120, 92), (150, 92, 74)),
    *((196, 200, 202), (160, 164, 168), (204, 184, 140), (222, 216, 204), (182, 168, 160), (142, 138, 130)),
)
_ROOFS: tuple[Colour, ...] = ((132, 66, 50), (110, 58, 46), (84, 80, 80), (98, 84, 74), (66, 68, 74))


def building(rng: np.random.Generator) -> Shape:
    """A town house with rows of windows, a door or shop front, and a flat or gabled roof."""
    length, depth = rng.uniform(9, 24), rng.uniform(8, 13)
    wall, storeys, storey = _WALLS[rng.integers(len(_WALLS))], int(rng.integers(2, 6)), rng.uniform(2.8, 3.4)
    height, half, end = storeys * storey + 0.5, depth / 2, length / 2
    shape = Shape(listed=True)
    bands, _ = shape.loft(
        [Ring(-end, end, 0.0, half), Ring(-end, end, storey, half), Ring(-end, end, height, half)],
        (shaded(wall, rng.uniform(0.6, 0.95)), wall, shaded(wall, 0.7)),
    )
    frame: Colour = (228, 226, 220) if rng.random() < 0.6 else shaded(wall, 0.6)
    shop = rng.random() < 0.4
    wide, tall = rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.64)
    for face, extent in zip(bands[1].all, (depth, length, depth, length), strict=True):
        columns = max(2, int(extent / rng.uniform(2.2, 3.2)))
        _windows(face, columns, storeys - 1, wide, tall, frame)
    for face in bands[0].sides:
        if shop:
            face.mark(0.04, 0.05, 0.96, 0.72, shaded(GLASS, 1.3))
            face.mark(0.04, 0.76, 0.96, 0.95, vivid(rng, (0.3, 0.7)))
            for edge in np.arange(0.04, 0.96, 0.19).tolist():
                face.mark(edge, 0.05, edge + 0.015, 0.72, frame)
        else:
            _windows(face, max(2, int(length / 3.0)), 1, 0.4, 0.5, frame)
            face.mark(0.45, 0.0, 0.45 + 1.1 / length, 0.72, shaded(_ROOFS[rng.integers(len(_ROOFS))], 0.8))
    if rng.random() < 0.6:
        roof = _ROOFS[rng.integers(len(_ROOFS))]
        shape.loft(
            [Ring(-end - 0.2, end + 0.2, height, half + 0.35), Ring(-end, end, height + depth * 0.33, 0.05)],
            (roof, roof),
        )
    else:
        shape.box(-end - 0.1, end + 0.1, height, height + 0.35, -half - 0.1, half + 0.1, shaded(wall, 0.75))
    return shape


def _windows(face: Face, columns: int, rows: int, wide: float, tall: float, frame: Colour) -> None:
    for row in range(rows):
        for column in range(columns):
            u, v = (column + 0.5) / columns, (row + 0.48) / rows
            du, dv = wide / columns / 2, tall / rows / 2
            face.mark(u - du * 1.15, v - dv * 1.1, u + du * 1.15, v + dv * 1.1, frame)
            face.mark(u - du, v - dv, u + du, v + dv, (56, 64, 74))
            face.mark(u - du * 0.1, v - dv, u + du * 0.1, v + dv, frame)


def tree(rng: np.random.Generator) -> Shape:
    """Broad-leaved or, now and then, a conifer."""
    height, shape = rng.uniform(4.5, 10.0), Shape()
    brightness, yellow = rng.uniform(74, 122), rng.uniform(0.52, 0.86)
    green: Colour = (brightness * yellow, brightness, brightness * rng.uniform(0.36, 0.56))
    trunk = height * rng.uniform(0.22, 0.38)
    shape.blob((86, 70, 56), (0, 0, 0, 0.16), (0, trunk * 1.6, 0, 0.1))
    if rng.random() < 0.15:
        shape.listed = True
        base, levels = height * 0.12, 7
        for level in np.linspace(0.0, 0.84, levels):
            foot, spread = base + (height - base) * level, height * 0.15 * (1.06 - level)
            skirt = [(spread * np.cos(a), foot, spread * np.sin(a), 0.1) for a in np.arange(0, 2 * pi, 0.7)]
            shape.blob(shaded(green, 0.56 + 0.2 * level), *skirt, (0, foot + height * 0.24, 0, 0.05))
        return shape
    spread = height * rng.uniform(0.22, 0.34)
    for _ in range(int(rng.integers(22, 34))):
        # inside an egg that is broadest a little below its middle
        up = rng.beta(1.6, 1.8)
        angle, out = rng.uniform(0, 2 * pi), spread * np.sqrt(rng.uniform(0.05, 1.0)) * np.sin(pi * (0.18 + 0.7 * up))
        radius = spread * rng.uniform(0.2, 0.4)
        centre = trunk + radius * 0.7 + (height - trunk - radius * 1.7) * up
        leaf = shaded(green, rng.uniform(0.86, 1.1) * (0.72 + 0.36 * up))
        shape.blob(leaf, (out * np.cos(angle), centre, out * np.sin(angle), radius))
    return shape


def hedge(rng: np.random.Generator) -> Shape:
    length, height, shape = rng.uniform(5, 14), rng.uniform(0.8, 1.8), Shape(listed=True)
    green: Colour = (rng.uniform(48, 84), rng.uniform(80, 112), rng.uniform(36, 58))
    band, _ = shape.box(-length / 2, length / 2, 0.0, height, -0.4, 0.4, green)
    for face in band.sides:
        for _ in range(int(length * 2.5)):
            u, v = rng.uniform(0, 0.94), rng.uniform(0, 0.85)
            face.mark(
                u,
                v,
                u + rng.uniform(0.3, 0.8) / length,
                v + rng.uniform(0.08, 0.2),
                shaded(green, rng.uniform(0.75, 1.2)),
            )
    return shape


def fence(rng: np.random.Generator) -> Shape:
    length, shape = rng.uniform(6, 14), Shape(listed=True)
    colour: Colour = (150, 130, 104) if rng.random() < 0.5 else (190, 192, 194)
    for post in np.arange(-length / 2, length / 2 + 0.1, 2.0).tolist():
        shape.stroke(shaded(colour, 0.8), 0.05, (post, 0.0, 0.0), (post, 0.8, 0.0))
    for up in (0.5, 0.75):
        shape.box(-length / 2, length / 2, up - 0.08, up + 0.08, -0.03, 0.03, colour)
    return shape


def lamp(rng: np.random.Generator) -> Shape:
    """A street lamp whose arm reaches to its right."""
    height, grey, shape = rng.uniform(5.5, 8.5), (104, 108, 110), Shape(listed=True)
    shape.stroke(grey, 0.07, (0, 0, 0), (0, height, 0), (0, height + 0.4, 1.6))
    shape.blob((216, 214, 200), (0, height + 0.33, 1.3, 0.09), (0, height + 0.38, 1.8, 0.09))
    return shape


def sign(rng: np.random.Generator) -> Shape:
    """A round or rectangular traffic sign looking back along the road."""
    shape = Shape(listed=True)
    height = rng.uniform(2.1, 2.6)
    shape.stroke((140, 142, 144), 0.035, (0, 0, 0), (0, height, 0))
    plate, _ = shape.box(-0.03, -0.01, height - 0.35, height + 0.35, -0.34, 0.34, (222, 222, 222))
    colours: tuple[Colour, ...] = ((34, 72, 160), (186, 28, 30), (222, 180, 40), (240, 240, 240))
    plate.rear.mark(0.05, 0.05, 0.95, 0.95, colours[rng.integers(len(colours))])
    plate.rear.mark(0.25, 0.35, 0.75, 0.65, (238, 238, 238))
    return shape


def traffic_light(_: np.random.Generator) -> Shape:
    shape = Shape(listed=True)
    shape.stroke((90, 92, 94), 0.06, (0, 0, 0), (0, 3.2, 0))
    head = shape.box(-0.2, 0.0, 2.35, 3.3, -0.17, 0.17, DARK)[0]
    for v, colour in ((0.72, (190, 40, 36)), (0.4, (70, 56, 20)), (0.08, (20, 66, 44))):
        head.rear.mark(0.2, v, 0.8, v + 0.2, colour, 0.8)
    return shape


def bench(_: np.random.Generator) -> Shape:
    """Seat at 0.45 m; who sits on it looks forward."""
    wood, shape = (128, 88, 54), Shape(listed=True)
    for right in (-0.75, 0.75):
        shape.stroke(
            (50, 50, 52), 0.03, (-0.05, 0.0, right), (-0.05, 0.42, right), (-0.28, 0.45, right), (-0.36, 0.85, right)
        )
    shape.box(-0.3, 0.18, 0.39, 0.45, -0.9, 0.9, wood)
    shape.box(-0.38, -0.33, 0.55, 0.85, -0.9, 0.9, wood)
    return shape


def litter_bin(rng: np.random.Generator) -> Shape:
    shape, colour = Shape(listed=True), vivid(rng, (0.2, 0.6), 0.6)
    shape.loft(
        [Ring(-0.28, 0.28, 0.0, 0.25), Ring(-0.34, 0.34, 0.95, 0.3), Ring(-0.36, 0.3, 1.08, 0.32)],
        (colour, shaded(colour, 0.7), colour),
    )
    return shape
