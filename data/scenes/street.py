"""Draws streets with everybody in them: traffic, parked cars, people, and what stands beside the road."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from data.scenes import casting
from data.scenes.camera import AHEAD, LEFTWARDS, RIGHTWARDS, TOWARDS, Camera
from data.scenes.colours import Colour
from data.scenes.layout import KINDS, Layout, Parking, Side
from data.scenes.light import draw_light
from data.scenes.mesh import Mesh
from data.scenes.world import Mover, World

Mix = dict[str, float]  # KITTI class -> weight
_DRIVING: Mix = {"Car": 0.61, "Van": 0.12, "Truck": 0.1, "Misc": 0.07, "Cyclist": 0.1}
_HAULING: Mix = {"Car": 0.5, "Van": 0.16, "Truck": 0.25, "Misc": 0.09}
_PARKED: Mix = {"Car": 0.82, "Van": 0.1, "Misc": 0.06, "Truck": 0.02}
_CROSSING: Mix = {"Car": 0.55, "Van": 0.13, "Truck": 0.1, "Cyclist": 0.14, "Tram": 0.08}
_LENGTHS = {"Pedestrian": 0.6, "Cyclist": 1.8, "Person_sitting": 0.8}  # metres of lane; vehicles have their own
_SIGHT = 130.0  # metres


def draw_street(seed: tuple[int, ...], seconds: float = 0.0, kind: str | None = None) -> World:
    """A street of its own for every seed, of one of KINDS; long and calm enough to drive along for some seconds."""
    return _Street(np.random.default_rng(seed), seconds, kind).world()


def _pick(rng: np.random.Generator, mix: Mix) -> str:
    weights = np.array(list(mix.values()))
    return str(rng.choice(list(mix), p=weights / weights.sum()))


def _always(mesh: Mesh) -> Callable[[float], Mesh]:
    return lambda _: mesh


class _Street:
    """With `seconds` nobody stands in the way of the camera, and who moves keeps to his track."""

    def __init__(self, rng: np.random.Generator, seconds: float, kind: str | None) -> None:
        self.rng, self.seconds, self.moving = rng, seconds, seconds > 0
        self.name = kind or str(rng.choice(list(KINDS), p=[each.share for each in KINDS.values()]))
        self.kind = KINDS[self.name]
        self.speed = self.kind.speed * rng.uniform(0.85, 1.15)
        self.density = rng.uniform(0.4, 1.2)
        self.end = _SIGHT + self.speed * seconds
        self.layout = Layout(rng, self.name, self.end)
        self.movers: list[Mover] = []

    def world(self) -> World:
        rng, layout = self.rng, self.layout
        self._traffic()
        for side in layout.sides:
            if side.track is not None:
                self._trams(side.track)
            if side.parking:
                self._parked(side, side.parking)
            self._walkers(side)
            self._benches(side)
            self._furniture(side)
            self._behind(side)
        self._cross_traffic()
        if not self.moving:
            self._people_on_the_road()
        # what may vary from picture to picture would make a drive unsteady
        jitter = 0.2 if self.moving else 1.0
        ego = Camera(
            x=rng.normal(0, 0.3) * jitter,
            yaw=float(np.clip(rng.normal(0, 0.05), -0.15, 0.15)) * jitter,
            pitch=rng.normal(0, 0.006) * jitter,
        )
        far: Colour = (84, 98, 80) if self.name == "country" else (128, 122, 118)
        skyline = (far, rng.uniform(5, 14))
        patches, movers = tuple(layout.patches), tuple(self.movers)
        return World(
            ego, self.speed, draw_light(rng), layout.ground, patches, movers, skyline, int(rng.integers(2**31))
        )

    # how one gets into the street

    def _cast(self, name: str, speed: float = 0.0) -> tuple[Callable[[float], Mesh], float, tuple[float, float, float]]:
        """How an actor of a class looks over time, the length it takes of its lane, its size."""
        if name not in _LENGTHS:
            mesh = casting.draw(name, self.rng)
            return _always(mesh), float(mesh.high[0] - mesh.low[0]), mesh.size
        number, start = casting.draw_person(self.rng), self.rng.uniform(0, 2 * math.pi)
        strolling = bool(speed > 0 if self.moving else self.rng.random() < 0.8)
        pace = (-1.6 if name == "Cyclist" else 4.2) * speed * self.moving  # radians a second, of pedals or legs

        def mesh_at(time: float) -> Mesh:
            return casting.person(name, number, start + pace * time, strolling)

        return mesh_at, _LENGTHS[name], mesh_at(0.0).size

    def _add(self, name: str, x: float, z: float, heading: float, speed: float = 0.0) -> None:
        """Put somebody labelled at a place. In a picture nobody moves, whatever the speed."""
        mesh_at, _, size = self._cast(name, speed)
        self.movers.append(Mover(name, mesh_at, x, z, heading, speed if self.moving else 0.0, size))

    def _put(self, name: str, x: float, z: float, heading: float) -> None:
        """Put a piece of scenery at a place."""
        mesh = casting.draw(name, self.rng)
        self.movers.append(Mover("", _always(mesh), x, z, heading, 0.0, mesh.size))

    def _fill(
        self,
        mix: Mix,
        x: float,
        start: float,
        heading: float,
        gaps: tuple[float, float],
        speed: float = 0.0,
        clear: bool = False,
    ) -> None:
        """Put movers of one speed behind one another along z. `clear` leaves the crossings free."""
        rng = self.rng
        speed *= self.moving
        # oncoming traffic has to start far off to be met late in the drive
        stop = self.end + (speed * self.seconds if heading == TOWARDS else 0.0)
        z = start + rng.uniform(0, (gaps[0] + gaps[1]) / 3)
        while z < stop:
            name = _pick(rng, mix)
            mesh_at, length, size = self._cast(name, speed)
            z += length / 2
            if not clear or self.layout.free(z, length / 2 + 2.0):
                turn = 0.0 if self.moving else rng.normal(0, 0.03)
                stray = 0.0 if name == "Tram" else rng.normal(0, 0.2)
                self.movers.append(Mover(name, mesh_at, x + stray, z, heading + turn, speed, size))
            z += length / 2 + rng.uniform(*gaps) / self.density

    def _taken(self, x: float, z: float, reach_x: float, reach_z: float) -> bool:
        """Whether a mover stands in a rectangle, at time 0."""
        return any(
            abs(m.x - x) < reach_x + m.size[1] / 2 and abs(m.z - z) < reach_z + m.size[2] / 2 for m in self.movers
        )

    # along the road

    def _traffic(self) -> None:
        rng, lane, gaps = self.rng, self.layout.lane, self.kind.traffic
        mix = _HAULING if self.kind.hauling else _DRIVING
        self._fill(mix, 0.0, rng.uniform(9, 40), AHEAD, gaps, self.speed)
        if self.layout.right > lane:
            self._fill(mix, lane, 5, AHEAD, gaps, self.speed * 0.9)
        self._fill(mix, -lane, 6, TOWARDS, gaps, self.kind.speed * 1.1)
        if self.layout.left < -2 * lane and rng.random() < 0.6:
            self._fill(mix, -2 * lane, 5, TOWARDS, gaps, self.kind.speed)
        if self.name != "country" and rng.random() < 0.55:
            self._fill({"Cyclist": 1.0}, self.layout.right - 0.25, 9, AHEAD, (8, 60), 4.5)

    def _trams(self, track: float) -> None:
        towards = self.rng.random() < 0.6
        speed = 8.0 if towards else self.speed * 0.7
        self._fill({"Tram": 1.0}, track, 4, TOWARDS if towards else AHEAD, (12, 90), speed)

    def _parked(self, side: Side, parking: Parking) -> None:
        rng = self.rng
        heading = AHEAD if (side.sign > 0) != (rng.random() < 0.15) else TOWARDS
        start = rng.uniform(2.5, 12) if not self.moving else -5.0
        if parking.angle is None:
            gaps = (0.7, rng.uniform(2.5, 16))
            self._fill(_PARKED, parking.edge + side.sign * 1.1, start, heading, gaps, clear=True)
            return
        for z in np.arange(start, self.end, 2.9 / math.sin(parking.angle)).tolist():
            if rng.random() < 0.7 and self.layout.free(z, 4.0):
                backwards = math.pi if rng.random() < 0.35 else 0.0
                face = AHEAD + side.sign * parking.angle + backwards + rng.normal(0, 0.03)
                self._add(_pick(rng, {"Car": 0.92, "Van": 0.08}), parking.edge + side.sign * 2.6, z, face)

    def _walkers(self, side: Side) -> None:
        """In both directions, now and then in groups; cyclists among them."""
        rng, sign = self.rng, side.sign
        inner = side.kerb + sign * 0.6
        outer = side.outer - sign * 0.5 if side.outer != side.kerb else side.kerb + sign * 1.5
        cycling = 0.3 if self.kind.hauling else 0.12
        for _ in range(rng.poisson(self.kind.people * self.density * self.end)):
            # seen from one spot people crowd in the distance: let fewer of them be there
            z = rng.uniform(4, self.end if self.moving else rng.uniform(25, self.end))
            x = rng.uniform(min(inner, outer), max(inner, outer))
            heading = AHEAD if rng.random() < 0.5 else TOWARDS
            if not self.moving and rng.random() < 0.3:
                heading = rng.uniform(-math.pi, math.pi)
            speed = rng.uniform(1.0, 1.6)
            for _ in range(rng.geometric(0.62)):
                name, pace = ("Cyclist", 3 * speed) if rng.random() < cycling else ("Pedestrian", speed)
                self._add(name, x, z, heading + (0.0 if self.moving else rng.normal(0, 0.2)), pace)
                x, z = x + sign * rng.uniform(0.5, 0.9), z + rng.normal(0, 0.5)

    def _benches(self, side: Side) -> None:
        """Benches with one to three people on each."""
        rng, sign = self.rng, side.sign
        for _ in range(rng.poisson(self.kind.seats * self.density * self.end)):
            z = rng.uniform(5, self.end if self.moving else 50)
            x = side.outer - sign * rng.uniform(0.5, 1.2) if side.outer != side.kerb else side.kerb + sign * 2
            facing = (LEFTWARDS if sign > 0 else RIGHTWARDS) + rng.choice([0.0, 0.0, math.pi / 2, -math.pi / 2])
            self._put("bench", x, z, facing)
            for seat in rng.permutation([-0.6, 0.0, 0.6])[: rng.integers(1, 4)].tolist():
                place = x - seat * math.sin(facing), z - seat * math.cos(facing)
                self._add("Person_sitting", *place, facing + rng.normal(0, 0.1))

    # beside the road

    def _furniture(self, side: Side) -> None:
        """Lamps, signs, traffic lights, street trees, litter bins."""
        rng, free = self.rng, self.layout.free
        x = side.kerb + side.sign * 0.45
        if rng.random() < 0.75:
            for z in np.arange(rng.uniform(5, 30), self.end, rng.uniform(24, 38)).tolist():
                if free(z, 1.0):  # the arm of a lamp reaches to its right: over the road
                    self._put("lamp", x, z, TOWARDS if side.sign > 0 else AHEAD)
        for z in rng.uniform(8, self.end, rng.poisson(0.02 * self.end)).tolist():
            self._put("sign", x, z, AHEAD)
        for start, _ in self.layout.crossings:
            if side.sign > 0 and rng.random() < 0.4:
                self._put("traffic light", x, start - 1.5, AHEAD)
        if abs(side.outer - side.kerb) > 2.4 and rng.random() < 0.5:
            for z in np.arange(rng.uniform(8, 20), self.end, rng.uniform(9, 18)).tolist():
                if free(z, 1.5):
                    self._put("tree", x + side.sign * 0.5, z + rng.normal(0, 0.5), 0.0)
        for z in rng.uniform(6, self.end, rng.poisson(0.012 * self.end)).tolist():
            self._put("bin", side.outer - side.sign * 0.4, z, AHEAD)

    def _behind(self, side: Side) -> None:
        """Houses, trees, hedges and fences, one after another along the building line."""
        rng = self.rng
        z = rng.uniform(-18, -8)
        while z < self.end + 20:
            name = str(rng.choice(["house", "tree", "hedge", "fence"], p=self.kind.beside))
            mesh = casting.draw(name, rng)
            length, _, depth = (mesh.high - mesh.low).tolist()
            if not self.layout.free(z + length / 2, length / 2 + 1.0):
                z += 2.5
                continue
            x = side.line + side.sign * (depth / 2 + (rng.uniform(0.5, 7) if name == "tree" else 0.2))
            self.movers.append(Mover("", _always(mesh), x, z + length / 2, AHEAD, 0.0, mesh.size))
            z += length * (0.6 if name == "tree" else 1.0) + (rng.uniform(0.0, 6.0) if rng.random() < 0.4 else 0.1)

    # across the road

    def _cross_traffic(self) -> None:
        """Who waits or drives in the streets that cross."""
        rng = self.rng
        for start, stop in self.layout.crossings:
            for share, heading in ((0.28, RIGHTWARDS), (0.72, LEFTWARDS)):
                for place in np.arange(-70, 70, rng.uniform(12, 40)).tolist():
                    x, z = place + rng.uniform(-4, 4), start + (stop - start) * share
                    if rng.random() > 0.45 or (self.moving and abs(x) < 20):  # a moving camera needs its way free
                        continue
                    name = _pick(rng, _CROSSING)
                    mesh_at, length, size = self._cast(name)
                    if not self._taken(x, z, length / 2 + 1.0, size[1] / 2 + 1.0):
                        self.movers.append(Mover(name, mesh_at, x, z, heading + rng.normal(0, 0.04), 0.0, size))

    def _people_on_the_road(self) -> None:
        """Crossing, alone or in groups, not only at the lights."""
        rng, layout = self.rng, self.layout
        for _ in range(rng.poisson({"city": 0.8, "square": 1.6, "residential": 0.5, "country": 0.15}[self.name])):
            x, z = rng.uniform(layout.left, layout.right), rng.uniform(6, 45)
            heading = RIGHTWARDS if rng.random() < 0.5 else LEFTWARDS
            for _ in range(rng.geometric(0.6)):
                if not self._taken(x, z, 1.2, 0.5):
                    name = "Cyclist" if rng.random() < 0.22 else "Pedestrian"
                    self._add(name, x, z, heading + rng.normal(0, 0.3), 1.3)
                x, z = x + rng.normal(0, 1.0), z + rng.normal(0, 0.8)
