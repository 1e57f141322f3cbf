"""Pedestrians in mid-step, people on benches, and cyclists: hulls of spheres around a skeleton."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from data.scenes.colours import Colour, shaded, vivid
from data.scenes.shapes import Shape

_SKINS: tuple[Colour, ...] = ((236, 196, 168), (222, 176, 144), (196, 148, 112), (150, 104, 74), (98, 66, 48))
_HAIR: tuple[Colour, ...] = ((30, 24, 22), (66, 46, 32), (110, 78, 46), (176, 142, 84), (150, 148, 146), (120, 52, 30))
_CLOTHES: tuple[Colour, ...] = (
    *((28, 30, 36), (44, 50, 66), (38, 58, 104), (84, 104, 140), (96, 92, 88), (146, 144, 140), (216, 214, 208)),
    *((122, 96, 72), (176, 156, 124), (74, 82, 60), (140, 40, 44), (54, 40, 48)),
)


@dataclass(frozen=True)
class Look:
    """What stays the same about a person from step to step."""

    height: float
    girth: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    bag: Colour | None
    skirt: bool
    coat: bool
    helmet: Colour | None
    bicycle: Colour


def look(rng: np.random.Generator) -> Look:
    def cloth() -> Colour:
        return vivid(rng, (0.35, 0.85)) if rng.random() < 0.35 else _CLOTHES[rng.integers(len(_CLOTHES))]

    return Look(
        height=rng.uniform(1.15, 1.45) if rng.random() < 0.1 else float(np.clip(rng.normal(1.73, 0.08), 1.5, 1.95)),
        girth=rng.uniform(0.88, 1.2),
        skin=_SKINS[rng.integers(len(_SKINS))],
        hair=_HAIR[rng.integers(len(_HAIR))],
        top=cloth(),
        legs=_CLOTHES[rng.integers(len(_CLOTHES))],
        shoes=(40, 36, 34) if rng.random() < 0.7 else (220, 220, 220),
        bag=cloth() if rng.random() < 0.3 else None,
        skirt=bool(rng.random() < 0.18),
        coat=bool(rng.random() < 0.25),
        helmet=vivid(rng) if rng.random() < 0.4 else None,
        bicycle=vivid(rng, (0.2, 0.9)),
    )


_Point = tuple[float, float, float]


class _Figure:
    """Places joints given for a body 1.76 m tall."""

    def __init__(self, who: Look) -> None:
        self.shape, self.who, self.scale = Shape(), who, who.height / 1.76

    def limb(self, colour: Colour, *joints: tuple[float, float, float, float]) -> None:
        k, girth = self.scale, self.who.girth
        self.shape.blob(colour, *((f * k, u * k, r * k, radius * k * girth) for f, u, r, radius in joints))

    def torso(self, hip: _Point, chest: _Point, colour: Colour) -> None:
        """From the hips to the shoulders, broader than deep."""
        self.limb(
            colour,
            *((hip[0], hip[1], side * 0.085, 0.115) for side in (-1, 1)),
            *((chest[0], chest[1], side * 0.135, 0.1) for side in (-1, 1)),
        )

    def head(self, at: _Point, hat: Colour | None = None) -> None:
        forward, up, right = at
        self.limb(self.who.skin, (forward - 0.01, up - 0.16, right, 0.052), (forward, up - 0.06, right, 0.052))
        self.limb(self.who.skin, (forward + 0.022, up - 0.01, right, 0.086), (forward + 0.018, up - 0.06, right, 0.07))
        back, crown = (forward - 0.035, up, right, 0.085), (forward - 0.01, up + 0.035, right, 0.082)
        if hat:
            self.limb(hat, (forward - 0.05, up + 0.045, right, 0.09), (forward + 0.05, up + 0.05, right, 0.078))
        elif self.who.skirt:
            self.limb(self.who.hair, back, crown, (forward - 0.07, up - 0.15, right, 0.06))
        else:
            self.limb(self.who.hair, back, crown)

    def leg(self, hip: _Point, knee: _Point, ankle: _Point, toe: _Point) -> None:
        shin = self.who.skin if self.who.skirt else self.who.legs
        self.limb(self.who.legs, (*hip, 0.088), (*knee, 0.062))
        self.limb(shin, (*knee, 0.06), (*ankle, 0.044))
        self.limb(self.who.shoes, (*ankle, 0.042), (*toe, 0.036))

    def arm(self, shoulder: _Point, elbow: _Point, hand: _Point) -> None:
        sleeve = shaded(self.who.top, 0.9)
        self.limb(sleeve, (*shoulder, 0.062), (*elbow, 0.048))
        self.limb(sleeve, (*elbow, 0.047), (*hand, 0.036))
        self.limb(self.who.skin, (*hand, 0.045))


def pedestrian(who: Look, phase: float, stride: float = 1.0) -> Shape:
    """Walking; a phase of 2 pi is two steps. A stride of 0 stands still."""
    figure = _Figure(who)
    for side in (-1, 1):
        angle = 0.42 * stride * sin(phase) * side
        bend = 0.12 + 0.75 * stride * max(0.0, cos(phase) * side)
        hip = (0.0, 0.92, side * 0.085)
        knee = (0.45 * sin(angle), 0.92 - 0.44 * cos(angle), side * 0.09)
        ankle = (knee[0] + 0.41 * sin(angle - bend), knee[1] - 0.41 * cos(angle - bend), side * 0.09)
        toe = (ankle[0] + 0.15 * cos(angle - bend), max(0.036, ankle[1] - 0.04 + 0.1 * sin(angle - bend)), side * 0.1)
        figure.leg(hip, knee, (ankle[0], max(0.06, ankle[1]), ankle[2]), toe)
        swing = -angle * 0.9
        elbow = (0.28 * sin(swing), 1.40 - 0.28 * cos(swing), side * 0.235)
        hand = (elbow[0] + 0.25 * sin(swing + 0.3), elbow[1] - 0.25 * cos(swing + 0.3), side * 0.24)
        figure.arm((0.0, 1.40, side * 0.19), elbow, hand)
    figure.torso((0.0, 0.97, 0.0), (0.0, 1.38, 0.0), who.top)
    if who.skirt or who.coat:
        hem = 0.5 if who.skirt else 0.62
        colour = who.legs if who.skirt else shaded(who.top, 0.92)
        figure.limb(
            colour, *((0.0, 0.97, side * 0.08, 0.11) for side in (-1, 1)), *((0.0, hem, s * 0.12, 0.1) for s in (-1, 1))
        )
    if who.bag:
        if who.coat or who.skirt:
            figure.limb(who.bag, (0.02, 0.72, 0.3, 0.09), (0.02, 0.6, 0.3, 0.12))
        else:
            figure.limb(who.bag, (-0.2, 1.32, 0.0, 0.12), (-0.21, 1.05, 0.0, 0.14))
    figure.head((0.01, 1.655, 0.0))
    return figure.shape


def seated(who: Look) -> Shape:
    """On a bench or a chair 0.45 m high, looking ahead."""
    figure = _Figure(who)
    for side in (-1, 1):
        figure.leg(
            (-0.1, 0.52, side * 0.09), (0.34, 0.53, side * 0.11), (0.36, 0.1, side * 0.11), (0.5, 0.05, side * 0.12)
        )
        figure.arm((-0.13, 0.99, side * 0.19), (-0.02, 0.74, side * 0.25), (0.22, 0.64, side * 0.14))
    figure.torso((-0.1, 0.56, 0.0), (-0.14, 0.97, 0.0), who.top)
    figure.head((-0.1, 1.24, 0.0))
    return figure.shape


def cyclist(who: Look, phase: float) -> Shape:
    """On a bicycle; a phase of 2 pi is one turn of the pedals."""
    figure = _Figure(who)
    shape, frame, black = figure.shape, who.bicycle, (28, 28, 30)
    axle_rear, axle_front, pedals = (-0.53, 0.34, 0.0), (0.55, 0.34, 0.0), (-0.05, 0.3, 0.0)
    saddle, bars = (-0.2, 0.92, 0.0), (0.38, 0.98, 0.0)
    for axle in axle_rear, axle_front:
        rim = [(axle[0] + 0.32 * cos(a), axle[1] + 0.32 * sin(a), 0.0) for a in np.linspace(0, 2 * pi, 17)]
        shape.stroke(black, 0.028, *rim)
        for a in (0.4, 0.4 + pi / 3, 0.4 + 2 * pi / 3):
            ends = [
                (axle[0] + sign * 0.3 * cos(a - phase), axle[1] + sign * 0.3 * sin(a - phase), 0.0) for sign in (-1, 1)
            ]
            shape.stroke((150, 150, 152), 0.006, *ends)
    shape.stroke(frame, 0.024, axle_rear, pedals, (0.36, 0.78, 0.0), (-0.17, 0.76, 0.0), axle_rear)
    shape.stroke(frame, 0.024, pedals, saddle)
    shape.stroke(frame, 0.024, axle_front, bars)
    shape.stroke(black, 0.02, (0.3, 1.0, -0.25), bars, (0.3, 1.0, 0.25))
    shape.blob(black, (-0.3, 0.93, 0.0, 0.06), (-0.08, 0.95, 0.0, 0.035))
    shape.box(-0.62, -0.56, 0.66, 0.74, -0.04, 0.04, (190, 24, 24))
    for side in (-1, 1):
        turn = phase + (pi if side > 0 else 0.0)
        foot = (-0.05 + 0.17 * cos(turn), 0.33 + 0.17 * sin(turn), side * 0.12)
        hip = (-0.2, 0.98, side * 0.085)
        reach = max(0.2, 0.86 - ((foot[0] - hip[0]) ** 2 + (foot[1] + 0.07 - hip[1]) ** 2) ** 0.5)
        knee = ((hip[0] + foot[0]) / 2 + 0.1 + reach * 0.55, (hip[1] + foot[1]) / 2 + 0.14, side * 0.12)
        figure.leg(hip, knee, (foot[0], foot[1] + 0.07, foot[2]), (foot[0] + 0.15, foot[1] + 0.02, foot[2]))
        figure.arm((0.06, 1.42, side * 0.19), (0.2, 1.2, side * 0.25), (0.31, 1.03, side * 0.23))
    figure.torso((-0.19, 1.03, 0.0), (0.05, 1.41, 0.0), who.top)
    if who.bag:
        figure.limb(who.bag, (-0.12, 1.42, 0.0, 0.11), (-0.28, 1.17, 0.0, 0.13))
    figure.head((0.15, 1.665, 0.0), who.helmet)
    return shape
