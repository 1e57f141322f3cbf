"""One moment in a street: everything that `render` needs to know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.scenes.camera import Camera
from data.scenes.colours import Colour
from data.scenes.light import Light
from data.scenes.mesh import Mesh


@dataclass(frozen=True)
class Actor:
    """A thing with its place in the world. `name` is a KITTI class, or empty for scenery, which is never labelled.

    `size` is height, width, length in metres, as KITTI writes it; a walker keeps his from step to step.
    """

    name: str
    mesh: Mesh
    x: float
    z: float
    heading: float
    size: tuple[float, float, float]

    @cached_property
    def position(self) -> np.ndarray:
        return np.array([self.x, 0.0, self.z])

    @cached_property
    def axes(self) -> np.ndarray:
        """[3, 3]: rows are the directions forward, up and right in the world."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [-sin, 0.0, -cos]])

    @cached_property
    def footprint(self) -> np.ndarray:
        """[4, 2]: the corners on the ground, (x, z)."""
        (f0, _, r0), (f1, _, r1) = self.mesh.low, self.mesh.high
        local = np.array([(f0, 0, r0), (f1, 0, r0), (f1, 0, r1), (f0, 0, r1)])
        return (local @ self.axes + self.position)[:, ::2]


@dataclass(frozen=True)
class Patch:
    """A flat polygon [n, 2] of (x, z) on the ground; later ones lie on earlier ones."""

    outline: np.ndarray
    colour: Colour

    @cached_property
    def start(self) -> float:
        return float(self.outline[:, 1].min())

    @cached_property
    def stop(self) -> float:
        return float(self.outline[:, 1].max())


@dataclass(frozen=True)
class Scene:
    camera: Camera
    light: Light
    ground: Colour
    patches: tuple[Patch, ...] = ()
    actors: tuple[Actor, ...] = ()
    seed: int = 0  # of what is not an object: clouds, skyline, grain
    instant: int = 0  # of what changes from frame to frame: the grain of the sensor
    skyline: tuple[Colour, float] = ((92, 104, 88), 9.0)  # colour and height in pixels
