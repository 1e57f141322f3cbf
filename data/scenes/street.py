"""Draws streets: their lanes and kerbs, what stands beside them, and who moves along them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.scenes import casting, vehicles
from data.scenes.camera import AHEAD, LEFTWARDS, RIGHTWARDS, TOWARDS, Camera
from data.scenes.light import draw_light
from data.scenes.mesh import Mesh
from data.scenes.scene import Patch
from data.scenes.shapes import Colour
from data.scenes.world import Mover, World

Mix = dict[str, float]  # KITTI class -> weight
_DRIVING: Mix = {"Car": 0.62, "Van": 0.13, "Truck": 0.11, "Misc": 0.05, "Cyclist": 0.09}
_HAULING: Mix = {"Car": 0.5, "Van": 0.16, "Truck": 0.27, "Misc": 0.07}
_PARKED: Mix = {"Car": 0.83, "Van": 0.11, "Misc": 0.04, "Truck": 0.02}
_WALKING: Mix = {"Pedestrian": 0.86, "Cyclist": 0.14}


@dataclass(frozen=True)
class Kind:
    """What sets one sort of street apart from another."""

    share: float  # of all streets
    parked: float  # probability of parked cars on a side
    walk: tuple[float, float]  # width of the pavements
    people: float  # on them, per metre and side
    seats: float  # benches per metre and side
    traffic: tuple[float, float]  # gap between vehicles of a lane
    tram: float
    driving: Mix
    beside: tuple[float, float, float, float]  # houses, trees, hedges, fences
    speed: float  # m/s


KINDS = {
    "city": Kind(0.36, 0.45, (2.5, 4.5), 0.06, 0.008, (6, 34), 0.45, _DRIVING, (0.74, 0.2, 0.03, 0.03), 9.0),
    "residential": Kind(0.28, 0.85, (1.8, 3.0), 0.03, 0.005, (14, 70), 0.0, _DRIVING, (0.4, 0.35, 0.15, 0.1), 7.0),
    "country": Kind(0.18, 0.0, (0.0, 0.0), 0.004, 0.002, (10, 45), 0.0, _HAULING, (0.04, 0.64, 0.12, 0.2), 14.0),
    "square": Kind(0.18, 0.1, (5.0, 9.0), 0.12, 0.03, (12, 60), 0.3, _DRIVING, (0.7, 0.26, 0.02, 0.02), 5.0),
}
_ASPHALT, _KERB, _WHITE, _RAIL = (102, 102, 104), (168, 166, 160), (226, 226, 222), (120, 122, 128)


def draw_street(seed: tuple[int, ...], seconds: float = 0.0) -> World:
    """A street of its own for every seed; long and calm enough to drive along for some seconds."""
    return _Street(np.random.default_rng(seed), seconds).world(int(np.random.default_rng(seed).integers(2**31)))


def _always(mesh: Mesh) -> Callable[[float], Mesh]:
    return lambda _: mesh


class _Street:
    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.rng, self.seconds, self.moving = rng, seconds, seconds > 0
        names = tuple(KINDS)
        self.name = str(rng.choice(names, p=[KINDS[name].share for name in names]))
        self.kind = KINDS[self.name]
        self.speed = self.kind.speed * rng.uniform(0.85, 1.15)
        self.density = float(rng.uniform(0.25, 1.0))
        self.end = 130.0 + self.speed * seconds
        self.movers: list[Mover] = []
        self.patches: list[Patch] = []

    def world(self, seed: int) -> World:
        rng = self.rng
        self.lane = rng.uniform(3.1, 3.7)
        self.crossings = self._crossings()
        grass = (rng.uniform(76, 112), rng.uniform(100, 126), rng.uniform(54, 74))
        self.paving = vehicles.shaded((1.02, 1.0, 0.96), rng.uniform(128, 172))
        tone = rng.uniform(0.85, 1.2)
        self.asphalt = vehicles.shaded(_ASPHALT, tone)
        right = self.lane / 2 + self.lane * (rng.random() < 0.22)
        left = -self.lane / 2 - self.lane * (1 if rng.random() < 0.8 else 2 * (self.name != "residential"))
        self._road(left, right)
        self._lanes(left, right)
        for side, edge in ((1, right), (-1, left)):
            self._side(side, edge)
        self._cross_traffic()
        if not self.moving:
            self._people_on_the_road(left, right)
        ground = grass if self.name in ("country", "residential") else self.paving
        jitter = 0.2 if self.moving else 1.0
        ego = Camera(
            x=rng.normal(0, 0.3) * jitter,
            yaw=float(np.clip(rng.normal(0, 0.05), -0.15, 0.15)) * jitter,
            pitch=rng.normal(0, 0.006) * jitter,
        )
        far: Colour = (84, 98, 80) if self.name == "country" else (128, 122, 118)
        return World(
            ego,
            self.speed,
            draw_light(rng),
            ground,
            tuple(self.patches),
            tuple(self.movers),
            (far, rng.uniform(5, 14)),
            seed,
        )

    # the ground

    def _crossings(self) -> list[tuple[float, float]]:
        """Stretches of z where another street crosses."""
        found, z = [], self.rng.uniform(14, 90)
        while z < self.end and self.name != "country":
            width = self.rng.uniform(6.5, 10)
            found.append((z, z + width))
            z += self.rng.uniform(55, 130)
        return found

    def _free(self, z: float, reach: float) -> bool:
        return all(z + reach < start or z - reach > stop for start, stop in self.crossings)

    def _strip(self, x0: float, x1: float, colour: Colour, z0: float = -5.0, z1: float | None = None) -> None:
        z1 = self.end + 400 if z1 is None else z1
        self.patches.append(Patch(np.array([(x0, z0), (x1, z0), (x1, z1), (x0, z1)]), colour))

    def _road(self, left: float, right: float) -> None:
        rng, lane = self.rng, self.lane
        self._strip(left, right, self.asphalt)
        for _ in range(int(rng.integers(2, 9) * self.end / 130)):  # mended places and covers
            x, z, width, length = rng.uniform(left, right - 1.2), rng.uniform(4, self.end), rng.uniform(0.5, 1.2), rng.uniform(0.6, 9)
            self._strip(x, x + width, vehicles.shaded(self.asphalt, rng.uniform(0.75, 0.92)), z, z + length)
        if self.name == "country" or rng.random() < 0.35:
            for x in (left + 0.2, right - 0.35):
                self._strip(x, x + 0.15, _WHITE)
        marks = rng.uniform(0.8, 1.0)
        white = vehicles.shaded(_WHITE, marks)
        dash, gap = (3.0, 6.0) if rng.random() < 0.6 else (4.0, 4.0)
        if self.name != "residential" or rng.random() < 0.4:
            for x in np.arange(left + lane, right - 0.5, lane):
                if rng.random() < 0.15:
                    self._strip(x - 0.07, x + 0.07, white)
                    continue
                for z in np.arange(-4.0, self.end, dash + gap):
                    if self._free(z + dash / 2, dash / 2):
                        self._strip(x - 0.07, x + 0.07, white, z, z + dash)
        for start, stop in self.crossings:
            self.patches.append(Patch(np.array([(-90.0, start), (90.0, start), (90.0, stop), (-90.0, stop)]), self.asphalt))
            if rng.random() < 0.6:
                for x in np.arange(left + 0.3, right - 0.5, 1.0):
                    self._strip(x, x + 0.5, white, start - 4.2, start - 1.2)
                self._strip(-lane / 2, right, white, start - 5.2, start - 4.8)

    # traffic

    def _lanes(self, left: float, right: float) -> None:
        rng, low_high = self.rng, self.kind.traffic
        own = self.speed if self.moving else 0.0
        lead = rng.uniform(9, 40)
        self._fill(self.kind.driving, 0.0, lead, self.end, AHEAD, own, low_high, 0.25)
        if right > self.lane:
            self._fill(self.kind.driving, self.lane, 5, self.end, AHEAD, own * 0.9, low_high, 0.25)
        if left < -2 * self.lane and rng.random() < 0.6:
            x = -2 * self.lane
            self._fill(self.kind.driving, x, 5, self._reach(self.kind.speed), TOWARDS, self.kind.speed, low_high, 0.25)
        self._fill(self.kind.driving, -self.lane, 6, self._reach(self.kind.speed * 1.1), TOWARDS, self.kind.speed * 1.1, low_high, 0.25)
        if self.name in ("city", "residential", "square") and rng.random() < 0.55:
            pace = 4.5 if self.moving else 0.0
            edge = max(right, self.lane / 2) - 0.35
            if edge > 1.6:
                self._fill({"Cyclist": 1.0}, edge + 0.1, 9, self.end, AHEAD, pace, (8, 60), 0.1)

    def _reach(self, speed: float) -> float:
        """How far away oncoming traffic may start to be met within the drive."""
        return self.end + speed * self.seconds

    def _fill(
        self,
        mix: Mix,
        x: float,
        start: float,
        stop: float,
        heading: float,
        speed: float,
        gaps: tuple[float, float],
        stray: float,
        clear: bool = False,
    ) -> None:
        """Put movers behind one another along z. `clear` leaves the crossings free."""
        rng = self.rng
        names, weights = list(mix), np.array(list(mix.values()))
        z = start + rng.uniform(0, (gaps[0] + gaps[1]) / 3)
        while z < stop:
            name = str(rng.choice(names, p=weights / weights.sum()))
            mesh_at, length, size = self._cast(name, speed)
            z += length / 2
            if not clear or self._free(z, length / 2 + 2.0):
                turn = 0.0 if self.moving else rng.normal(0, 0.03)
                self.movers.append(Mover(name, mesh_at, x + rng.normal(0, stray), z, heading + turn, speed, size))
            z += length / 2 + rng.uniform(*gaps) / self.density

    def _cast(self, name: str, speed: float) -> tuple[Callable[[float], Mesh], float, tuple[float, float, float]]:
        """How an actor of a class looks over time, its length, its size."""
        rng = self.rng
        if name not in ("Pedestrian", "Cyclist", "Person_sitting"):
            mesh = casting.draw(name, rng)
            return _always(mesh), float(mesh.high[0] - mesh.low[0]), mesh.size
        number, start = casting.draw_person(rng), rng.uniform(0, 2 * math.pi)
        strolling = bool(speed > 0 if self.moving else rng.random() < 0.8)
        pace = -1.6 * speed if name == "Cyclist" else 4.2 * speed  # radians a second
        pace *= self.moving
        mesh = casting.person(name, number, start, strolling)

        def mesh_at(time: float) -> Mesh:
            return casting.person(name, number, start + pace * time, strolling)

        return mesh_at, {"Cyclist": 1.8, "Pedestrian": 0.6}.get(name, 0.8), mesh.size

    # beside the road

    def _side(self, side: int, edge: float) -> None:
        """Tram track, parking lane, kerb, pavement with its people, and a row of houses or green, from the edge outwards."""
        rng, kind = self.rng, self.kind
        heading = AHEAD if side > 0 else TOWARDS
        if side < 0 and rng.random() < kind.tram:
            edge = self._tram_track(edge)
        if rng.random() < kind.parked:
            edge = self._parking(side, edge, heading)
        width = rng.uniform(*kind.walk)
        outer = edge + side * width
        if width > 0:
            for start, stop in self._between_crossings():
                x0, x1 = sorted((edge, outer))
                self._strip(x0, x1, self.paving, start, stop)
                joints = vehicles.shaded(self.paving, 0.9)
                for z in np.arange(max(start, 0), min(stop, 60), 2.0):
                    self._strip(x0, x1, joints, z, z + 0.06)
                x0, x1 = sorted((edge, edge + side * 0.22))
                self._strip(x0, x1, _KERB, start, stop)
                x0, x1 = sorted((edge - side * 0.06, edge))
                self._strip(x0, x1, vehicles.shaded(self.asphalt, 0.6), start, stop)
        self._people(side, edge, outer, heading)
        self._furniture(side, edge, outer)
        self._behind(side, outer + side * rng.uniform(0.2, 3.0 if width else 5.0))

    def _between_crossings(self) -> list[tuple[float, float]]:
        edges = [-5.0, *(z for crossing in self.crossings for z in crossing), self.end + 400]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def _tram_track(self, edge: float) -> float:
        outer = edge - 3.9
        self._strip(outer, edge, vehicles.shaded(self.paving, 0.75))
        middle = (outer + edge) / 2
        for x in (middle - 0.72, middle + 0.68):
            self._strip(x, x + 0.07, _RAIL)
        towards = self.rng.random() < 0.6
        speed = (8.0 if towards else self.speed * 0.7) if self.moving else 0.0
        self._fill({"Tram": 1.0}, middle, 4, self._reach(speed) if towards else self.end, TOWARDS if towards else AHEAD, speed, (12, 90), 0.0)
        return outer

    def _parking(self, side: int, edge: float, heading: float) -> float:
        rng = self.rng
        slanted = rng.random() < 0.25
        depth = 5.2 if slanted else 2.3
        outer = edge + side * depth
        x0, x1 = sorted((edge, outer))
        self._strip(x0, x1, vehicles.shaded(self.asphalt, 0.92 if rng.random() < 0.5 else 1.12))
        if rng.random() < 0.15:
            heading = -heading
        start = rng.uniform(2.5, 12) if not self.moving else -5.0
        if not slanted:
            self._fill(_PARKED, edge + side * 1.1, start, self.end, heading, 0.0, (0.7, rng.uniform(2.5, 16)), 0.1, clear=True)
            return outer
        turn = rng.uniform(0.75, 1.57)
        for z in np.arange(start, self.end, 2.9 / math.sin(turn)):
            if rng.random() < 0.7 and self._free(z, 4.0):
                name = str(rng.choice(["Car", "Van"], p=[0.92, 0.08]))
                mesh_at, _, size = self._cast(name, 0.0)
                face = AHEAD + side * turn + (math.pi if rng.random() < 0.35 else 0.0) + rng.normal(0, 0.03)
                self.movers.append(Mover(name, mesh_at, edge + side * 2.6, float(z), face, 0.0, size))
        return outer

    def _people(self, side: int, edge: float, outer: float, heading: float) -> None:
        """Walkers in both directions, now and then in groups, and people on benches."""
        rng, kind = self.rng, self.kind
        inner, outside = edge + side * 0.6, (outer - side * 0.5 if outer != edge else edge + side * 1.5)
        for _ in range(rng.poisson(kind.people * self.density * (self.end - 4))):
            z, x, along = rng.uniform(4, self.end), rng.uniform(*sorted((inner, outside))), rng.random() < 0.5
            speed = rng.uniform(1.0, 1.6)
            way = AHEAD if along else TOWARDS
            if not self.moving:
                way = way if rng.random() < 0.7 else rng.uniform(-math.pi, math.pi)
            for _ in range(1 + int(rng.geometric(0.62) - 1)):
                name = "Cyclist" if rng.random() < (0.3 if self.name == "country" else 0.1) else "Pedestrian"
                pace = speed * (3.0 if name == "Cyclist" else 1.0)
                mesh_at, _, size = self._cast(name, pace)
                turn = way if self.moving else way + rng.normal(0, 0.2)
                self.movers.append(Mover(name, mesh_at, x, z, turn, pace if self.moving else 0.0, size))
                x, z = x + side * rng.uniform(0.5, 0.9), z + rng.normal(0, 0.5)
        for _ in range(rng.poisson(kind.seats * self.density * (self.end - 5))):
            z = rng.uniform(5, min(self.end, 70 + self.speed * self.seconds))
            facing = (LEFTWARDS if side > 0 else RIGHTWARDS) + rng.choice([0.0, 0.0, math.pi / 2, -math.pi / 2])
            x = outer - side * rng.uniform(0.5, 1.2) if outer != edge else edge + side * 2
            self._put("bench", x, z, facing)
            for seat in rng.permutation([-0.6, 0.0, 0.6])[: rng.integers(1, 4)]:
                mesh_at, _, size = self._cast("Person_sitting", 0.0)
                sx, sz = x - seat * math.sin(facing), z - seat * math.cos(facing)
                self.movers.append(Mover("Person_sitting", mesh_at, sx, sz, facing + rng.normal(0, 0.1), 0.0, size))

    def _put(self, name: str, x: float, z: float, heading: float) -> None:
        mesh = casting.draw(name, self.rng)
        self.movers.append(Mover("", _always(mesh), x, z, heading, 0.0, mesh.size))

    def _furniture(self, side: int, edge: float, outer: float) -> None:
        """Lamps, signs, street trees, bins near the kerb."""
        rng = self.rng
        x = edge + side * 0.45
        towards_road = -AHEAD if side > 0 else AHEAD  # the arm of a lamp reaches to its right
        if rng.random() < 0.75:
            for z in np.arange(rng.uniform(5, 30), self.end, rng.uniform(24, 38)):
                if self._free(z, 1.0):
                    self._put("lamp", x, float(z), towards_road)
        for z in rng.uniform(8, self.end, rng.poisson(0.025 * self.end)):
            self._put("sign", x, float(z), AHEAD)
        for start, _ in self.crossings:
            if side > 0 and rng.random() < 0.4:
                self._put("traffic light", x, start - 1.5, AHEAD)
        if abs(outer - edge) > 2.4 and rng.random() < 0.5:
            for z in np.arange(rng.uniform(8, 20), self.end, rng.uniform(9, 18)):
                if self._free(z, 1.5):
                    self._put("tree", x + side * 0.5, float(z + rng.normal(0, 0.5)), 0.0)
        for z in rng.uniform(6, self.end, rng.poisson(0.012 * self.end)):
            self._put("bin", outer - side * 0.4, float(z), AHEAD)

    def _behind(self, side: int, line: float) -> None:
        """Houses, trees, hedges and fences, one after another along the building line."""
        rng = self.rng
        z = rng.uniform(-18, -8)
        while z < self.end + 20:
            name = str(rng.choice(["house", "tree", "hedge", "fence"], p=self.kind.beside))
            mesh = casting.draw(name, rng)
            length, depth = float(mesh.high[0] - mesh.low[0]), float(mesh.high[2] - mesh.low[2])
            if not self._free(z + length / 2, length / 2 + 1.0):
                z += 2.5
                continue
            aside = depth / 2 + (rng.uniform(0.5, 7) if name == "tree" else 0.2)
            self.movers.append(Mover("", _always(mesh), line + side * aside, z + length / 2, AHEAD, 0.0, mesh.size))
            z += length * (0.6 if name == "tree" else 1.0) + (rng.uniform(0.0, 6.0) if rng.random() < 0.4 else 0.1)

    # across the road

    def _cross_traffic(self) -> None:
        rng = self.rng
        for start, stop in self.crossings:
            for share, heading in ((0.28, RIGHTWARDS), (0.72, LEFTWARDS)):
                for x in np.arange(-70, 70, rng.uniform(12, 40)):
                    x += rng.uniform(-4, 4)
                    # a moving camera needs its way free
                    if self.moving and abs(x) < 16:
                        continue
                    if rng.random() < 0.45:
                        name = str(rng.choice(["Car", "Van", "Truck", "Cyclist", "Tram"], p=[0.55, 0.13, 0.1, 0.14, 0.08]))
                        mesh_at, _, size = self._cast(name, 0.0)
                        z = start + (stop - start) * share
                        if not self._taken(x, z, size[2] / 2 + 1.0, size[1] / 2 + 1.0):
                            self.movers.append(Mover(name, mesh_at, float(x), z, heading + rng.normal(0, 0.04), 0.0, size))

    def _taken(self, x: float, z: float, reach_x: float, reach_z: float) -> bool:
        """Whether a mover stands in a rectangle, at time 0."""
        return any(
            abs(m.x - x) < reach_x + m.size[1] / 2 and abs(m.z - z) < reach_z + m.size[2] / 2 for m in self.movers
        )

    def _people_on_the_road(self, left: float, right: float) -> None:
        """People crossing, alone or in groups, not only at the lights."""
        rng = self.rng
        for _ in range(rng.poisson({"city": 1.0, "square": 2.5, "residential": 0.6}.get(self.name, 0.15))):
            z, heading = rng.uniform(6, 45), RIGHTWARDS if rng.random() < 0.5 else LEFTWARDS
            x = rng.uniform(left, right)
            for _ in range(int(rng.geometric(0.6))):
                name = "Cyclist" if rng.random() < 0.22 else "Pedestrian"
                mesh_at, _, size = self._cast(name, 0.0)
                if not self._taken(x, z, 0.5 + size[2] / 2, 0.5):
                    self.movers.append(Mover(name, mesh_at, x, z, heading + rng.normal(0, 0.3), 0.0, size))
                x, z = x + rng.normal(0, 1.0), z + rng.normal(0, 0.8)
