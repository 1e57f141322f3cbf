"""What actors are made of: lofted boxes with marks on their faces, hulls of spheres, and strokes.

Local coordinates are (forward, up, right) in metres with the origin on the ground under the middle of the actor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from data.scenes.colours import Colour

_CIRCLE = np.linspace(0, 2 * np.pi, 16, endpoint=False)


class Face:
    """A quadrilateral [4, 3] with flat marks on it; from outside: lower left, lower right, upper right, upper left."""

    def __init__(self, corners: np.ndarray, colour: Colour) -> None:
        self.polygons: list[np.ndarray] = [corners]
        self.colours: list[Colour] = [colour]
        self.glows: list[float] = [0.0]
        (ax, ay, az), (bx, by, bz) = (corners[2] - corners[0]).tolist(), (corners[3] - corners[1]).tolist()
        normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
        self.normal = normal / max(math.sqrt(float(normal @ normal)), 1e-9)

    def add(self, polygon: np.ndarray, colour: Colour, glow: float = 0.0) -> None:
        """Lay a polygon [n, 3] of the face's own plane on it. A glow of 1 shines whatever the light."""
        self.polygons.append(polygon)
        self.colours.append(colour)
        self.glows.append(glow)

    def mark(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, glow: float = 0.0) -> None:
        """Lay a rectangle in the face's own coordinates: u to the right, v upwards, both 0..1."""
        self.add(self._at(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])), colour, glow)

    def pane(self, u0: float, v0: float, u1: float, v1: float, glass: Colour, sky: Colour) -> None:
        """A window: dark, with the sky mirrored in its upper part."""
        self.mark(u0, v0, u1, v1, glass)
        self.mark(u0 + (u1 - u0) * 0.06, v0 + (v1 - v0) * 0.55, u1, v1, sky)

    def _at(self, uv: np.ndarray) -> np.ndarray:
        u, v = uv[:, :1], uv[:, 1:]
        a, b, c, d = self.polygons[0]
        return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)


@dataclass(frozen=True)
class Blob:
    """The convex hull of spheres [n, 4] (forward, up, right, radius), shaded like something round."""

    spheres: np.ndarray
    colour: Colour


@dataclass(frozen=True)
class Stroke:
    """A line [n, 3] as thick as twice its radius: spokes, frames, wires."""

    points: np.ndarray
    radius: float
    colour: Colour


@dataclass(frozen=True)
class Ring:
    """A horizontal (or tilted) section of a loft, from its rear edge to its front edge."""

    rear: float
    front: float
    up: float
    half_width: float
    front_up: float | None = None
    front_half_width: float | None = None

    def corners(self) -> np.ndarray:
        """[4, 3]: rear left, rear right, front right, front left."""
        front_up = self.up if self.front_up is None else self.front_up
        front_half = self.half_width if self.front_half_width is None else self.front_half_width
        return np.array(
            [
                (self.rear, self.up, -self.half_width),
                (self.rear, self.up, self.half_width),
                (self.front, front_up, front_half),
                (self.front, front_up, -front_half),
            ]
        )


@dataclass(frozen=True)
class Band:
    """The faces between two rings."""

    rear: Face
    right: Face
    front: Face
    left: Face

    @property
    def sides(self) -> tuple[Face, Face]:
        return self.left, self.right

    @property
    def all(self) -> tuple[Face, Face, Face, Face]:
        return self.rear, self.right, self.front, self.left


Part = list[Face] | Blob | Stroke


@dataclass
class Shape:
    """Convex parts. `listed`: in an order that is right from above; else they are sorted when painted."""

    parts: list[Part] = field(default_factory=list)
    listed: bool = False

    def loft(self, rings: Sequence[Ring], colours: Sequence[Colour], shift: float = 0.0) -> tuple[list[Band], Face]:
        """Stack rings from the ground up; one colour a band and one for the top. `shift` moves it to the right."""
        sections = [ring.corners() + np.array((0.0, 0.0, shift)) for ring in rings]
        bands: list[Band] = []
        faces: list[Face] = []
        for low, high, colour in zip(sections[:-1], sections[1:], colours, strict=False):
            band = Band(*(Face(_quad(low, high, side), colour) for side in range(4)))
            bands.append(band)
            faces.extend(band.all)
        rear_left, rear_right, front_right, front_left = sections[-1]
        top = Face(np.array([rear_left, rear_right, front_right, front_left]), colours[-1])
        self.parts.append([*faces, top])
        return bands, top

    def box(
        self, rear: float, front: float, low: float, high: float, left: float, right: float, colour: Colour
    ) -> tuple[Band, Face]:
        half, shift = (right - left) / 2, (right + left) / 2
        bands, top = self.loft([Ring(rear, front, low, half), Ring(rear, front, high, half)], [colour, colour], shift)
        return bands[0], top

    def blob(self, colour: Colour, *spheres: tuple[float, float, float, float]) -> None:
        self.parts.append(Blob(np.array(spheres, dtype=float), colour))

    def stroke(self, colour: Colour, radius: float, *points: tuple[float, float, float]) -> None:
        self.parts.append(Stroke(np.array(points, dtype=float), radius, colour))


def _quad(low: np.ndarray, high: np.ndarray, side: int) -> np.ndarray:
    """Corners of a face between two sections, in the order in which Face wants them."""
    start, end = side, (side + 1) % 4
    return np.array([low[start], low[end], high[end], high[start]])


def upright_disc(forward: float, up: float, right: float, radius: float) -> np.ndarray:
    """[16, 3]: a circle in the plane of the sides of an actor, as a wheel stands."""
    return np.stack(
        [forward + radius * np.cos(_CIRCLE), up + radius * np.sin(_CIRCLE), np.full_like(_CIRCLE, right)], axis=1
    )


def bounds(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest local coordinates of a part."""
    if isinstance(part, Blob):
        centre, radius = part.spheres[:, :3], part.spheres[:, 3:]
        return (centre - radius).min(axis=0), (centre + radius).max(axis=0)
    if isinstance(part, Stroke):
        return part.points.min(axis=0) - part.radius, part.points.max(axis=0) + part.radius
    corners = np.concatenate([face.polygons[0] for face in part])
    return corners.min(axis=0), corners.max(axis=0)
