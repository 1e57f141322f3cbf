"""The plan of a street: lanes, tracks, parking, kerbs, pavements and crossings, and how it looks on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.scenes.colours import Colour, shaded
from data.scenes.scene import Patch

_ASPHALT, _KERB, _WHITE, _RAIL = (102, 102, 104), (168, 166, 160), (226, 226, 222), (120, 122, 128)
_BEHIND, _FAR = -5.0, 400.0  # metres before the start and after the end that are still paved


@dataclass(frozen=True)
class Kind:
    """What sets one sort of street apart from another."""

    share: float  # of all streets
    parked: float  # probability of parked cars on a side
    walk: tuple[float, float]  # width of the pavements
    people: float  # on them, per metre and side
    seats: float  # benches per metre and side
    traffic: tuple[float, float]  # gap between vehicles of a lane
    tram: float  # probability of a track
    hauling: bool  # more lorries than bicycles
    beside: tuple[float, float, float, float]  # houses, trees, hedges, fences
    speed: float  # m/s


KINDS = {
    "city": Kind(0.36, 0.45, (2.5, 4.5), 0.03, 0.004, (7, 36), 0.6, False, (0.74, 0.2, 0.03, 0.03), 9.0),
    "residential": Kind(0.28, 0.85, (1.8, 3.0), 0.014, 0.003, (14, 70), 0.0, False, (0.4, 0.35, 0.15, 0.1), 7.0),
    "country": Kind(0.18, 0.0, (0.0, 0.0), 0.004, 0.002, (10, 45), 0.0, True, (0.04, 0.64, 0.12, 0.2), 14.0),
    "square": Kind(0.18, 0.1, (5.0, 9.0), 0.055, 0.014, (12, 60), 0.45, False, (0.7, 0.26, 0.02, 0.02), 5.0),
}


@dataclass(frozen=True)
class Parking:
    """Cars stand along the edge or, at an angle (radians), across it."""

    edge: float
    angle: float | None


@dataclass(frozen=True)
class Side:
    """One side of the street from the roadway outwards; `sign` is 1 on the right, -1 on the left; places are x."""

    sign: int
    track: float | None  # the middle of a tram track
    parking: Parking | None
    kerb: float
    outer: float  # end of the pavement
    line: float  # where houses and gardens begin


class Layout:
    """Lanes of width `lane` from x = left to x = right; the camera drives along x = 0; `end` is the last z."""

    def __init__(self, rng: np.random.Generator, name: str, end: float) -> None:
        self.rng, self.name, self.kind, self.end = rng, name, KINDS[name], end
        self.patches: list[Patch] = []
        self.lane = rng.uniform(3.1, 3.7)
        self.right = self.lane / 2 + self.lane * (rng.random() < 0.22)
        self.left = -self.lane / 2 - self.lane * (1 if rng.random() < 0.8 else 2 * (name != "residential"))
        self.crossings = self._crossings()
        grass: Colour = (rng.uniform(76, 112), rng.uniform(100, 126), rng.uniform(54, 74))
        self.paving = shaded((1.02, 1.0, 0.96), rng.uniform(128, 172))
        self.asphalt = shaded(_ASPHALT, rng.uniform(0.85, 1.2))
        self.ground = grass if name in ("country", "residential") else self.paving
        self._roadway()
        self.sides = [self._side(1, self.right), self._side(-1, self.left)]

    def free(self, z: float, reach: float) -> bool:
        """Whether z - reach..z + reach keeps out of all crossings."""
        return all(z + reach < start or z - reach > stop for start, stop in self.crossings)

    def _crossings(self) -> list[tuple[float, float]]:
        """Stretches of z where another street crosses."""
        found, z = [], self.rng.uniform(14, 90)
        while z < self.end and self.name != "country":
            found.append((z, z + self.rng.uniform(6.5, 10)))
            z += self.rng.uniform(55, 130)
        return found

    def _strip(self, x0: float, x1: float, colour: Colour, z0: float = _BEHIND, z1: float | None = None) -> None:
        z1 = self.end + _FAR if z1 is None else z1
        self.patches.append(Patch(np.array([(x0, z0), (x1, z0), (x1, z1), (x0, z1)]), colour))

    def _roadway(self) -> None:
        rng, left, right = self.rng, self.left, self.right
        self._strip(left, right, self.asphalt)
        for _ in range(int(rng.integers(2, 9) * self.end / 130)):  # mended places and covers
            x, z = rng.uniform(left, right - 1.2), rng.uniform(4, self.end)
            width, length = rng.uniform(0.5, 1.2), rng.uniform(0.6, 9)
            self._strip(x, x + width, shaded(self.asphalt, rng.uniform(0.75, 0.92)), z, z + length)
        white = shaded(_WHITE, rng.uniform(0.8, 1.0))
        if self.name == "country" or rng.random() < 0.35:
            for x in (left + 0.2, right - 0.35):
                self._strip(x, x + 0.15, white)
        if self.name != "residential" or rng.random() < 0.4:
            self._lane_marks(white)
        for start, stop in self.crossings:
            outline = [(-90.0, start), (90.0, start), (90.0, stop), (-90.0, stop)]
            self.patches.append(Patch(np.array(outline), self.asphalt))
            if rng.random() < 0.6:
                for x in np.arange(left + 0.3, right - 0.5, 1.0).tolist():
                    self._strip(x, x + 0.5, white, start - 4.2, start - 1.2)
                self._strip(-self.lane / 2, right, white, start - 5.2, start - 4.8)

    def _lane_marks(self, white: Colour) -> None:
        dash, gap = (3.0, 6.0) if self.rng.random() < 0.6 else (4.0, 4.0)
        for x in np.arange(self.left + self.lane, self.right - 0.5, self.lane).tolist():
            if self.rng.random() < 0.15:
                self._strip(x - 0.07, x + 0.07, white)
                continue
            for z in np.arange(-4.0, self.end, dash + gap).tolist():
                if self.free(z + dash / 2, dash / 2):
                    self._strip(x - 0.07, x + 0.07, white, z, z + dash)

    def _side(self, sign: int, edge: float) -> Side:
        rng = self.rng
        track, parking = None, None
        if sign < 0 and rng.random() < self.kind.tram:
            self._strip(edge - 3.9, edge, shaded(self.paving, 0.75))
            track, edge = edge - 1.95, edge - 3.9
            for x in (track - 0.72, track + 0.68):
                self._strip(x, x + 0.07, _RAIL)
        if rng.random() < self.kind.parked:
            parking = Parking(edge, rng.uniform(0.75, math.pi / 2) if rng.random() < 0.25 else None)
            beyond = edge + sign * (2.3 if parking.angle is None else 5.2)
            self._strip(edge, beyond, shaded(self.asphalt, 0.92 if rng.random() < 0.5 else 1.12))
            edge = beyond
        width = rng.uniform(*self.kind.walk)
        if width > 0:
            self._pavement(sign, edge, edge + sign * width)
        line = edge + sign * (width + rng.uniform(0.2, 3.0 if width else 5.0))
        return Side(sign, track, parking, edge, edge + sign * width, line)

    def _pavement(self, sign: int, kerb: float, outer: float) -> None:
        """Between the crossings, with joints, a kerb stone and the gutter before it."""
        edges = [_BEHIND, *(z for crossing in self.crossings for z in crossing), self.end + _FAR]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            self._strip(kerb, outer, self.paving, start, stop)
            for z in np.arange(max(start, 0), min(stop, 60), 2.0).tolist():
                self._strip(kerb, outer, shaded(self.paving, 0.9), z, z + 0.06)
            self._strip(kerb, kerb + sign * 0.22, _KERB, start, stop)
            self._strip(kerb - sign * 0.06, kerb, shaded(self.asphalt, 0.6), start, stop)
