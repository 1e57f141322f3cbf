"""Cars, vans, trucks, trams and trailers, each a little different from the one before."""

from __future__ import annotations

import colorsys

import numpy as np

from data.scenes.shapes import Band, Colour, Face, Ring, Shape, upright_disc

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


def _paint(rng: np.random.Generator) -> Colour:
    return vivid(rng) if rng.random() < 0.15 else _PAINTS[rng.integers(len(_PAINTS))]


def shaded(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _wheel(face: Face, forward: float, half_width: float, radius: float) -> None:
    """A wheel in its dark arch, on the side face of a body."""
    right = half_width if face.normal[2] > 0 else -half_width
    face.add(upright_disc(forward, radius * 1.06, right, radius * 1.16), DARK)
    face.add(upright_disc(forward, radius, right * 1.005, radius), TYRE)
    face.add(upright_disc(forward, radius, right * 1.01, radius * 0.62), HUB)
    face.add(upright_disc(forward, radius, right * 1.01, radius * 0.2), DARK)


def _tyres(shape: Shape, axles: tuple[float, ...], half_width: float, radius: float, width: float = 0.22) -> None:
    """What shows of the tyres under the body, from the front and from behind."""
    for axle in axles:
        for right in (-half_width + 0.04, half_width - 0.04 - width):
            shape.box(axle - radius, axle + radius, 0.0, radius * 1.3, right, right + width, TYRE)


def _lights(rng: np.random.Generator, nose: Face, tail: Face, plate_on: tuple[Face, Face], lamp_width: float) -> None:
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
    paint, radius, half, end = _paint(rng), rng.uniform(0.29, 0.35), width / 2, length / 2
    lower = DARK if rng.random() < 0.2 else shaded(paint, 0.72)
    bumper, belt, hood = height * 0.36, height * rng.uniform(0.6, 0.66), height * rng.uniform(0.52, 0.58)

    def deck(forward: float) -> float:  # the upper edge of the body, falling towards the nose
        return belt + (hood - belt) * (forward + end) / length

    axles = (-length * 0.3, length * 0.31)
    shape = Shape(listed=True)
    _tyres(shape, axles, half, radius)
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
    _lights(rng, waist.front, waist.rear, (sill.front, sill.rear), rng.uniform(0.14, 0.24))
    waist.front.mark(0.3, 0.25, 0.7, 0.7, shaded(DARK, 0.8))
    sill.front.mark(0.1, 0.1, 0.9, 0.42, DARK)
    sill.rear.mark(0.12, 0.0, 0.88, 0.35, DARK)
    for face in glass.front, glass.rear:
        face.pane(0.07, 0.08, 0.93, 0.94, GLASS, SKY_IN_GLASS)
    doors = 2 if rng.random() < 0.75 else 1
    for face, mirror in ((glass.right, False), (glass.left, True)):
        edges = np.linspace(0.1, 0.9, doors + 1)
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            face.pane(start + 0.02, 0.1, stop - 0.02, 0.92, GLASS, SKY_IN_GLASS)
        side = waist.left if mirror else waist.right
        for edge in np.linspace(0.3, 0.64, doors + 1):
            edge = 1 - edge if mirror else edge
            side.mark(edge, 0.0, edge + 0.006, 0.98, shaded(paint, 0.55))
        side.mark(0.0, 0.52, 1.0, 0.58, shaded(paint, 0.8))
        lamps = ((0.0, 0.06, TAIL_LIGHT), (0.95, 1.0, HEADLIGHT))
        for start, stop, colour in lamps:
            if mirror:
                start, stop = 1 - stop, 1 - start
            side.mark(start, 0.5, stop, 0.9, colour)
        for axle in axles:
            _wheel(side, axle, half, radius)
    return shape


def van(rng: np.random.Generator) -> Shape:
    """A delivery van (blind sides, maybe lettered) or a minibus, tall and with a short nose."""
    length, width, height = rng.uniform(4.6, 6.2), rng.uniform(1.85, 2.05), rng.uniform(1.92, 2.6)
    paint = (228, 229, 230) if rng.random() < 0.4 else _paint(rng)
    radius, half, end = 0.34, width / 2, length / 2
    belt, hood, minibus = rng.uniform(1.08, 1.2), rng.uniform(0.92, 1.05), rng.random() < 0.5
    nose = rng.uniform(0.45, 0.9)
    axles = (-length * 0.29, end - 0.85)
    shape = Shape(listed=True)
    _tyres(shape, axles, half, radius)
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
    _lights(rng, waist.front, waist.rear, (sill.front, sill.rear), rng.uniform(0.1, 0.16))
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
            _wheel(side, axle, half, radius)
    return shape


def truck(rng: np.random.Generator) -> Shape:
    """A cab with a box body, a curtain-sided one or a tipper."""
    length, width = rng.uniform(6.5, 11.0), rng.uniform(2.3, 2.55)
    cab_height, cab_length, half, end = rng.uniform(2.5, 3.1), rng.uniform(1.7, 2.2), width / 2, length / 2
    paint, radius, floor = _paint(rng), rng.uniform(0.44, 0.52), rng.uniform(0.95, 1.1)
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    top = rng.uniform(1.9, 2.4) if kind == 2 else rng.uniform(3.0, 3.8)
    cargo: Colour = (224, 225, 224) if rng.random() < 0.45 else vivid(rng, (0.2, 0.8))
    axles = (-end + length * 0.16, end - 1.2)
    shape = Shape(listed=True)
    _tyres(shape, axles, half, radius, 0.4)
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
        _wheel(face, axles[1], half, radius)
    for face in chassis.sides:
        for axle in (axles[0], axles[0] + 2.1 * radius) if length > 9 else axles[:1]:
            _wheel(face, axle, half, radius)
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
            for edge in np.arange(0.04, 0.99, 0.12 if kind == 1 else 0.17):
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
    shape.stroke((60, 62, 66), 0.04, (-0.8, height - 0.1, 0.0), (0.3, height + 0.55, 0.0), (-0.7, height + 1.1, 0.0))
    shape.stroke((60, 62, 66), 0.04, (-0.7, height + 1.1, -0.8), (-0.7, height + 1.1, 0.8))
    return shape


def trailer(rng: np.random.Generator) -> Shape:
    """A caravan, a box trailer or a loaded flat trailer: the Misc of this street."""
    kind = rng.choice(3)
    length, half = (rng.uniform(4.2, 6.0), 1.1) if kind == 0 else (rng.uniform(2.2, 3.4), rng.uniform(0.7, 0.95))
    height = (rng.uniform(2.4, 2.7), rng.uniform(1.6, 2.2), rng.uniform(0.75, 1.0))[kind]
    floor, end, radius = 0.45, length / 2, 0.3
    paint: Colour = (232, 230, 224) if kind == 0 else vivid(rng, (0.05, 0.6))
    shape = Shape(listed=True)
    _tyres(shape, (0.0,), half, radius)
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
            for edge in np.arange(0.1, 0.95, 0.2):
                face.mark(edge, 0.0, edge + 0.025, 1.0, shaded(paint, 0.72))
            face.mark(0.0, 0.0, 1.0, 0.1, shaded(paint, 0.5))
        if kind == 2:
            load, pile = vivid(rng, (0.2, 0.6)), rng.uniform(0.3, 0.9)
            shape.box(-end * 0.9, end * rng.uniform(0.2, 0.9), height, height + pile, -half * 0.8, half * 0.8, load)
        wheels_on, tail = lower, lower.rear
    for face in wheels_on.sides:
        _wheel(face, 0.0, half, radius)
    for left in (0.03, 0.8):
        tail.mark(left, 0.1, left + 0.17, 0.3, TAIL_LIGHT, 0.3)
    tail.mark(0.38, 0.08, 0.62, 0.25, PLATE)
    return shape
