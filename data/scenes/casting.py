"""A large cast, each member built once and from its own number: the same ones for whoever asks, in whatever order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from data.scenes import cars, heavy, people, scenery
from data.scenes.mesh import Mesh
from data.scenes.shapes import Shape

_BUILDERS: dict[str, Callable[[np.random.Generator], Shape]] = {
    "Car": cars.car,
    "Van": cars.van,
    "Truck": heavy.truck,
    "Tram": heavy.tram,
    "Misc": heavy.trailer,
    "house": scenery.building,
    "tree": scenery.tree,
    "hedge": scenery.hedge,
    "fence": scenery.fence,
    "lamp": scenery.lamp,
    "sign": scenery.sign,
    "traffic light": scenery.traffic_light,
    "bench": scenery.bench,
    "bin": scenery.litter_bin,
}
_CAST = {"Car": 500, "Van": 150, "Truck": 150, "Tram": 60, "Misc": 100, "house": 120, "tree": 80}
_FEW, _PEOPLE = 12, 200
POSES = 12  # of a walking or pedalling person, in one turn
_NUMBERS = {name: number for number, name in enumerate([*_BUILDERS, "people"])}


def draw(name: str, rng: np.random.Generator) -> Mesh:
    """A vehicle or a piece of scenery."""
    return _member(name, int(rng.integers(_CAST.get(name, _FEW))))


@lru_cache(maxsize=2000)
def _member(name: str, number: int) -> Mesh:
    return Mesh(_BUILDERS[name](np.random.default_rng((_NUMBERS[name], number))))


def draw_person(rng: np.random.Generator) -> int:
    """The number of one of the people."""
    return int(rng.integers(_PEOPLE))


@lru_cache(maxsize=8000)
def _posed(name: str, number: int, pose: int, strolling: bool) -> Mesh:
    who = people.look(np.random.default_rng((_NUMBERS["people"], number)))
    phase = 2 * math.pi * pose / POSES
    if name == "Cyclist":
        return Mesh(people.cyclist(who, phase))
    if name == "Person_sitting":
        return Mesh(people.seated(who))
    return Mesh(people.pedestrian(who, phase if strolling else 1.0, 1.0 if strolling else 0.15))


def person(name: str, number: int, phase: float = 0.0, strolling: bool = True) -> Mesh:
    """A Pedestrian, Cyclist or Person_sitting in the pose nearest to a phase (radians)."""
    pose = round(phase / (2 * math.pi) * POSES) % POSES
    if name == "Person_sitting" or not strolling:
        pose = 0
    return _posed(name, number, pose, strolling)
