"""Cars and vans, each a little different from the one before; and the wheels and lamps that all vehicles have."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data.scenes.colours import (
    DARK,
    GLASS,
    HEADLIGHT,
    HUB,
    PLATE,
    SKY_IN_GLASS,
    TAIL_LIGHT,
    TYRE,
    paint_of_a_car,
    shaded,
    vivid,
)
from data.scenes.shapes import Face, Ring, Shape, upright_disc


def wheel(face: Face, forward: float, half_width: float, radius: float) -> None:
    """A wheel in its dark arch, on the side face of a body."""
    right = half_width if face.normal[2] > 0 else -half_width
    face.add(upright_disc(forward, radius * 1.06, right, radius * 1.16), DARK)
    face.add(upright_disc(forward, radius, right * 1.005, radius), TYRE)
    face.add(upright_disc(forward, radius, right * 1.01, radius * 0.62), HUB)
    face.add(upright_disc(forward, radius, right * 1.01, radius * 0.2), DARK)


def tyres(shape: Shape, axles: tuple[float, ...], half_width: float, radius: float, width: float, top: float) -> None:
    """What shows of the tyres under the body, whose lower edge is at `top`, from the front and from behind."""
    for axle in axles:
        for right in (-half_width + 0.04, half_width - 0.04 - width):
            shape.box(axle - radius, axle + radius, 0.0, top, right, right + width, TYRE)


def lights(rng: np.random.Generator, nose: Face, tail: Face, plate_on: tuple[Face, Face], lamp_width: float) -> None:
    on = 1.0 if rng.random() < 0.3 else 0.25
    braking = 1.0 if rng.random() < 0.3 else 0.2
    low, high = rng.uniform(0.2, 0.45), rng.uniform(0.75, 0.95)
    tail_low, tail_high = rng.uniform(0.0, 0.4), rng.uniform(0.8, 1.0)
    for left, right in ((0.03, 0.03 + lamp_width), (0.97 - lamp_width, 0.97)):
        nose.mark(left, low, right, high, HEADLIGHT, on)
        tail.mark(left, tail_low, right, tail_high, TAIL_LIGHT, braking)
        tail.mark(left + 0.02, tail_low, right - 0.02, tail_low + 0.2, (214, 120, 60))
    for face in plate_on:
        face.mark(0.37, 0.45, 0.63, 0.8, PLATE)


def car(rng: np.random.Generator) -> Shape:
    """A hatchback, saloon, estate, off-roader or minicar."""
    # length, width, height, tail of the roof, foot of the rear window, front of the roof, foot of the windscreen
    # (the last four as shares of the length, from the middle)
    kinds = (
        (3.95, 1.72, 1.47, -0.42, -0.485, 0.02, 0.24),
        (4.50, 1.77, 1.44, -0.23, -0.37, 0.02, 0.22),
        (4.55, 1.76, 1.49, -0.42, -0.49, 0.02, 0.22),
        (4.40, 1.84, 1.68, -0.43, -0.49, 0.06, 0.22),
        (3.50, 1.62, 1.50, -0.41, -0.48, 0.10, 0.30),
        (4.30, 1.79, 1.36, -0.16, -0.40, -0.02, 0.18),
    )
    kind = kinds[rng.choice(len(kinds), p=(0.28, 0.2, 0.19, 0.16, 0.1, 0.07))]
    length, width, height = (value * rng.uniform(0.94, 1.07) for value in kind[:3])
    roof_tail, glass_tail, roof_front, glass_front = (length * share for share in kind[3:])
    paint, radius, half, end = paint_of_a_car(rng), rng.uniform(0.29, 0.35), width / 2, length / 2
    lower = DARK if rng.random() < 0.2 else shaded(paint, 0.72)
    bumper, belt, hood = height * 0.36, height * rng.uniform(0.6, 0.66), height * rng.uniform(0.52, 0.58)

    def deck(forward: float) -> float:  # the upper edge of the body, falling towards the nose
        return belt + (hood - belt) * (forward + end) / length

    axles = (-length * 0.3, length * 0.31)
    shape = Shape(listed=True)
    tyres(shape, axles, half, radius, 0.22, 0.3)
    body = [
        Ring(-end + 0.12, end - 0.12, 0.24, half * 0.94),
        Ring(-end, end, bumper, half),
        Ring(-end + 0.07, end - 0.16, belt, half * 0.95, hood, half * 0.9),
    ]
    (sill, waist), _ = shape.loft(body, (lower, paint, shaded(paint, 1.04)))
    cabin = [
        Ring(glass_tail, glass_front, deck(glass_tail), half * 0.93, deck(glass_front), half * 0.91),
        Ring(roof_tail, roof_front, height - 0.02, half * 0.73, height - 0.04, half * 0.72),
        Ring(roof_tail + 0.1, roof_front - 0.1, height, half * 0.62),
    ]
    (glass, _), _ = shape.loft(cabin, (paint, paint, shaded(paint, 1.05)))
    lights(rng, waist.front, waist.rear, (sill.front, sill.rear), rng.uniform(0.14, 0.24))
    waist.front.mark(0.3, 0.25, 0.7, 0.7, shaded(DARK, 0.8))
    sill.front.mark(0.1, 0.1, 0.9, 0.42, DARK)
    sill.rear.mark(0.12, 0.0, 0.88, 0.35, DARK)
    for face in glass.front, glass.rear:
        face.pane(0.07, 0.08, 0.93, 0.94, GLASS, SKY_IN_GLASS)
    doors = 2 if rng.random() < 0.75 else 1
    for face, mirror in ((glass.right, False), (glass.left, True)):
        edges = np.linspace(0.1, 0.9, doors + 1).tolist()
        for start, stop in pairwise(edges):
            face.pane(start + 0.02, 0.1, stop - 0.02, 0.92, GLASS, SKY_IN_GLASS)
        side = waist.left if mirror else waist.right
        for edge in np.linspace(0.3, 0.64, doors + 1).tolist():
            edge = 1 - edge if mirror else edge
            side.mark(edge, 0.0, edge + 0.006, 0.98, shaded(paint, 0.55))
        side.mark(0.0, 0.52, 1.0, 0.58, shaded(paint, 0.8))
        lamps = ((0.0, 0.06, TAIL_LIGHT), (0.95, 1.0, HEADLIGHT))
        for start, stop, colour in lamps:
            if mirror:
                start, stop = 1 - stop, 1 - start
            side.mark(start, 0.5, stop, 0.9, colour)
        for axle in axles:
            wheel(side, axle, half, radius)
    return shape


def van(rng: np.random.Generator) -> Shape:
    """A delivery van (blind sides, maybe lettered) or a minibus, tall and with a short nose."""
    length, width, height = rng.uniform(4.6, 6.2), rng.uniform(1.85, 2.05), rng.uniform(1.92, 2.6)
    paint = (228, 229, 230) if rng.random() < 0.4 else paint_of_a_car(rng)
    radius, half, end = 0.34, width / 2, length / 2
    belt, hood, minibus = rng.uniform(1.08, 1.2), rng.uniform(0.92, 1.05), rng.random() < 0.5
    nose = rng.uniform(0.45, 0.9)
    axles = (-length * 0.29, end - 0.85)
    shape = Shape(listed=True)
    tyres(shape, axles, half, radius, 0.22, 0.34)
    body = [
        Ring(-end + 0.08, end - 0.1, 0.28, half * 0.96),
        Ring(-end, end, 0.6, half),
        Ring(-end + 0.01, end - 0.12, belt, half * 0.99, hood, half * 0.93),
    ]
    (sill, waist), _ = shape.loft(body, (DARK if rng.random() < 0.4 else shaded(paint, 0.75), paint, paint))
    foot = end - nose * rng.uniform(0.45, 0.7)
    top = [
        Ring(-end + 0.01, foot, belt, half * 0.99, hood + 0.03, half * 0.95),
        Ring(-end + 0.06, foot - nose, height - 0.12, half * 0.9, height - 0.16, half * 0.84),
        Ring(-end + 0.16, foot - nose - 0.15, height, half * 0.8),
    ]
    (walls, _), _ = shape.loft(top, (paint, paint, shaded(paint, 1.04)))
    lights(rng, waist.front, waist.rear, (sill.front, sill.rear), rng.uniform(0.1, 0.16))
    waist.front.mark(0.25, 0.1, 0.75, 0.55, shaded(DARK, 0.8))
    walls.front.pane(0.05, 0.06, 0.95, 0.9, GLASS, SKY_IN_GLASS)
    if minibus or rng.random() < 0.5:
        walls.rear.pane(0.08, 0.15, 0.48, 0.8, GLASS, SKY_IN_GLASS)
        walls.rear.pane(0.52, 0.15, 0.92, 0.8, GLASS, SKY_IN_GLASS)
    for face in walls.rear, waist.rear:
        face.mark(0.495, 0.0, 0.505, 1.0, shaded(paint, 0.5))
    lettering = vivid(rng) if rng.random() < 0.5 else None
    for mirror in (False, True):
        wall, side = (walls.left, waist.left) if mirror else (walls.right, waist.right)
        edges = ((0.77, 0.95), (0.45, 0.72), (0.07, 0.41)) if minibus else ((0.74, 0.94),)
        for start, stop in edges:
            if mirror:
                start, stop = 1 - stop, 1 - start
            wall.pane(start, 0.12, stop, 0.8, GLASS, SKY_IN_GLASS)
        if lettering and not minibus:
            wall.mark(*((0.4, 0.15, 0.85, 0.6) if mirror else (0.15, 0.15, 0.6, 0.6)), lettering)
            side.mark(*((0.35, 0.6, 0.95, 0.75) if mirror else (0.05, 0.6, 0.65, 0.75)), lettering)
        for edge in (0.44, 0.73):
            edge = 1 - edge if mirror else edge
            side.mark(edge, 0.0, edge + 0.006, 1.0, shaded(paint, 0.55))
        for axle in axles:
            wheel(side, axle, half, radius)
    return shape
