"""Trucks, trams and trailers."""

from __future__ import annotations

import numpy as np

from data.scenes.cars import tyres, wheel
from data.scenes.colours import (
    DARK,
    GLASS,
    HEADLIGHT,
    PLATE,
    SKY_IN_GLASS,
    TAIL_LIGHT,
    Colour,
    paint_of_a_car,
    shaded,
    vivid,
)
from data.scenes.shapes import Band, Ring, Shape


def truck(rng: np.random.Generator) -> Shape:
    """A cab with a box body, a curtain-sided one or a tipper."""
    length, width = rng.uniform(6.5, 11.0), rng.uniform(2.3, 2.55)
    cab_height, cab_length, half, end = rng.uniform(2.5, 3.1), rng.uniform(1.7, 2.2), width / 2, length / 2
    paint, radius, floor = paint_of_a_car(rng), rng.uniform(0.44, 0.52), rng.uniform(0.95, 1.1)
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    top = rng.uniform(1.9, 2.4) if kind == 2 else rng.uniform(3.0, 3.8)
    cargo: Colour = (224, 225, 224) if rng.random() < 0.45 else vivid(rng, (0.2, 0.8))
    axles = (-end + length * 0.16, end - 1.2)
    shape = Shape(listed=True)
    tyres(shape, axles, half, radius, 0.4, 0.42)
    chassis, _ = shape.box(-end + 0.1, end - cab_length, 0.5, floor, -half * 0.9, half * 0.9, DARK)
    load = Shape()
    back = -end
    box, _ = load.box(back, end - cab_length - 0.12, floor, top, -half, half, cargo)
    cab_rings = [
        Ring(end - cab_length, end - 0.04, 0.42, half * 0.95),
        Ring(end - cab_length, end, 0.75, half * 0.97),
        Ring(end - cab_length, end - 0.03, 1.45, half * 0.97),
        Ring(end - cab_length, end - rng.uniform(0.15, 0.4), cab_height, half * 0.92),
    ]
    (bumper, lower, upper), _ = load.loft(cab_rings, (shaded(paint, 0.6), paint, paint, shaded(paint, 1.04)))
    bumper.front.mark(0.06, 0.2, 0.24, 0.85, HEADLIGHT, 0.5)
    bumper.front.mark(0.76, 0.2, 0.94, 0.85, HEADLIGHT, 0.5)
    bumper.front.mark(0.38, 0.1, 0.62, 0.5, PLATE)
    lower.front.mark(0.15, 0.12, 0.85, 0.62, DARK)
    upper.front.pane(0.05, 0.06, 0.95, 0.68, GLASS, SKY_IN_GLASS)
    for face in upper.sides:
        face.pane(0.22, 0.1, 0.8, 0.66, GLASS, SKY_IN_GLASS)
    for face in lower.sides:
        face.mark(0.15, 0.0, 0.17, 1.0, shaded(paint, 0.55))
        wheel(face, axles[1], half, radius)
    for face in chassis.sides:
        for axle in (axles[0], axles[0] + 2.1 * radius) if length > 9 else axles[:1]:
            wheel(face, axle, half, radius)
        face.mark(0.45, 0.1, 0.75, 0.75, (120, 122, 124))
    chassis.rear.mark(0.02, 0.25, 0.16, 0.6, TAIL_LIGHT, 0.4)
    chassis.rear.mark(0.84, 0.25, 0.98, 0.6, TAIL_LIGHT, 0.4)
    chassis.rear.mark(0.4, 0.2, 0.6, 0.5, PLATE)
    _dress_cargo(rng, box, kind, cargo)
    # the load and the cab stand side by side, so which of the two comes first depends on where one looks from
    shape.parts.extend(load.parts)
    shape.listed = False
    return shape


def _dress_cargo(rng: np.random.Generator, box: Band, kind: int, cargo: Colour) -> None:
    """Ribs, curtains or lettering on the box of a truck; its two back doors."""
    if kind == 0 and rng.random() < 0.7:
        logo = vivid(rng)
        for face in box.sides:
            face.mark(0.2, 0.35, 0.8, 0.75, logo)
            face.mark(0.26, 0.48, 0.62, 0.62, (236, 236, 236))
    if kind > 0:
        for face in box.sides:
            for edge in np.arange(0.04, 0.99, 0.12 if kind == 1 else 0.17).tolist():
                face.mark(edge, 0.0, edge + 0.02, 1.0, shaded(cargo, 0.7))
    for face in box.sides:
        face.mark(0.0, 0.0, 1.0, 0.06, shaded(cargo, 0.5))
        face.mark(0.0, 0.96, 1.0, 1.0, shaded(cargo, 0.75))
    box.rear.mark(0.0, 0.0, 1.0, 0.05, shaded(cargo, 0.45))
    if kind < 2:
        for edge in (0.06, 0.49, 0.92):
            box.rear.mark(edge, 0.06, edge + 0.02, 0.96, shaded(cargo, 0.62))
        for edge in (0.3, 0.7):
            box.rear.mark(edge, 0.1, edge + 0.015, 0.9, (120, 120, 122))


def tram(rng: np.random.Generator) -> Shape:
    """Two or three coupled modules with long bands of windows, doors and a pantograph."""
    modules, module, half, height = int(rng.integers(2, 4)), rng.uniform(6.5, 9.0), rng.uniform(1.15, 1.3), 3.25
    liveries: tuple[tuple[Colour, Colour], ...] = (
        ((222, 178, 38), (232, 230, 224)),
        ((196, 36, 32), (234, 234, 232)),
        ((228, 230, 232), (40, 84, 152)),
        ((236, 234, 224), (44, 120, 76)),
        ((206, 208, 212), (200, 44, 40)),
    )
    paint, stripe = liveries[rng.integers(len(liveries))]
    length, gap = modules * module, 0.3
    shape = Shape()
    for index in range(modules):
        rear = -length / 2 + index * module + (gap if index else 0.0)
        front = -length / 2 + (index + 1) * module
        slope_rear, slope_front = (0.45 if index == 0 else 0.0), (0.45 if index == modules - 1 else 0.0)
        rings = [
            Ring(rear + 0.1 * (index == 0), front - 0.1 * (index == modules - 1), 0.12, half * 0.97),
            Ring(rear, front, 0.7, half),
            Ring(rear, front, 1.15, half),
            Ring(rear + slope_rear, front - slope_front, 2.65, half * 0.97),
            Ring(rear + slope_rear + 0.1, front - slope_front - 0.1, height - 0.15, half * 0.9),
        ]
        (skirt, low, windows, sign), _ = shape.loft(rings, (shaded(paint, 0.55), stripe, paint, paint, (118, 120, 124)))
        count = int(module / 1.35)
        for face in windows.sides:
            face.mark(0.02, 0.1, 0.98, 0.92, (52, 58, 66))
            for number in range(count):
                face.pane((number + 0.09) / count, 0.14, (number + 0.91) / count, 0.88, GLASS, SKY_IN_GLASS)
            for door in (0.24, 0.66):
                face.mark(door, -0.25, door + 0.012, 0.95, shaded(paint, 0.5))
                face.mark(door + 0.11, -0.25, door + 0.122, 0.95, shaded(paint, 0.5))
        for face in low.sides:
            face.mark(0.0, 0.0, 1.0, 0.25, shaded(stripe, 0.7))
        for face in skirt.sides:
            for door in (0.15, 0.7):
                face.mark(door, 0.0, door + 0.16, 0.5, DARK)
        for at_end, ends in ((index == modules - 1, "front"), (index == 0, "rear")):
            if at_end:
                getattr(windows, ends).pane(0.05, 0.04, 0.95, 0.97, GLASS, SKY_IN_GLASS)
                getattr(sign, ends).mark(0.2, 0.1, 0.8, 0.75, (24, 22, 18))
                getattr(sign, ends).mark(0.28, 0.25, 0.72, 0.6, (240, 168, 40), 1.0)
                lamp = HEADLIGHT if ends == "front" else TAIL_LIGHT
                getattr(low, ends).mark(0.08, 0.3, 0.24, 0.8, lamp, 0.9)
                getattr(low, ends).mark(0.76, 0.3, 0.92, 0.8, lamp, 0.9)
        if index:
            shape.box(rear - gap, rear, 0.4, height - 0.35, -half * 0.85, half * 0.85, DARK)
    shape.stroke((60, 62, 66), 0.04, (-0.8, height - 0.1, 0.0), (0.3, height + 0.2, 0.0), (-0.7, height + 0.45, 0.0))
    shape.stroke((60, 62, 66), 0.04, (-0.7, height + 0.45, -0.8), (-0.7, height + 0.45, 0.8))
    return shape


def trailer(rng: np.random.Generator) -> Shape:
    """A caravan, a box trailer or a loaded flat trailer: the Misc of this street."""
    kind = rng.choice(3)
    length, half = (rng.uniform(4.2, 6.0), 1.1) if kind == 0 else (rng.uniform(2.2, 3.4), rng.uniform(0.7, 0.95))
    height = (rng.uniform(2.4, 2.7), rng.uniform(1.6, 2.2), rng.uniform(0.75, 1.0))[kind]
    floor, end, radius = 0.45, length / 2, 0.3
    paint: Colour = (232, 230, 224) if kind == 0 else vivid(rng, (0.05, 0.6))
    shape = Shape(listed=True)
    tyres(shape, (0.0,), half, radius, 0.2, 0.45)
    shape.stroke(DARK, 0.05, (end - 0.1, floor, 0.0), (end + 0.9, floor, 0.0), (end + 0.9, 0.05, 0.0))
    if kind == 0:
        rings = [
            Ring(-end + 0.05, end - 0.25, floor, half),
            Ring(-end, end, 1.1, half),
            Ring(-end + 0.25, end - 0.5, height - 0.1, half * 0.98),
            Ring(-end + 0.4, end - 0.7, height, half * 0.9),
        ]
        (lower, upper, _), _ = shape.loft(rings, (paint, paint, paint, shaded(paint, 1.03)))
        band = vivid(rng)
        for face in lower.sides:
            face.mark(0.0, 0.55, 1.0, 0.75, band)
            face.mark(0.0, 0.3, 1.0, 0.42, shaded(band, 0.6))
        for face in upper.sides:
            for start in (0.12, 0.4, 0.7):
                face.pane(start, 0.25, start + 0.18, 0.7, GLASS, SKY_IN_GLASS)
        for face in upper.front, upper.rear:
            face.pane(0.15, 0.15, 0.85, 0.6, GLASS, SKY_IN_GLASS)
        wheels_on, tail = lower, lower.rear
    else:
        lower, _ = shape.box(-end, end, floor, height, -half, half, paint)
        for face in lower.all:
            for edge in np.arange(0.1, 0.95, 0.2).tolist():
                face.mark(edge, 0.0, edge + 0.025, 1.0, shaded(paint, 0.72))
            face.mark(0.0, 0.0, 1.0, 0.1, shaded(paint, 0.5))
        if kind == 2:
            load, pile = vivid(rng, (0.2, 0.6)), rng.uniform(0.3, 0.9)
            shape.box(-end * 0.9, end * rng.uniform(0.2, 0.9), height, height + pile, -half * 0.8, half * 0.8, load)
        wheels_on, tail = lower, lower.rear
    for face in wheels_on.sides:
        wheel(face, 0.0, half, radius)
    for left in (0.03, 0.8):
        tail.mark(left, 0.1, left + 0.17, 0.3, TAIL_LIGHT, 0.3)
    tail.mark(0.38, 0.08, 0.62, 0.25, PLATE)
    return shape
