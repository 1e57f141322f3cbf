"""A street full of movers, and the moments of it that a passing camera sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from data.scenes.camera import Camera
from data.scenes.colours import Colour
from data.scenes.light import Light
from data.scenes.mesh import Mesh
from data.scenes.scene import Actor, Patch, Scene

_BEHIND, _BEYOND = 25.0, 190.0  # metres along the street that a moment keeps


@dataclass(frozen=True)
class Mover:
    """An actor with a straight track: at time t (seconds) it is at (x, z) + speed * t along its heading."""

    name: str
    mesh_at: Callable[[float], Mesh]  # its look at time t: legs and pedals move
    x: float
    z: float
    heading: float
    speed: float
    size: tuple[float, float, float]

    def at(self, time: float) -> Actor:
        way = self.speed * time
        x, z = self.x + way * math.cos(self.heading), self.z - way * math.sin(self.heading)
        return Actor(self.name, self.mesh_at(time), x, z, self.heading, self.size)

    def z_at(self, time: float) -> float:
        return self.z - self.speed * time * math.sin(self.heading)


@dataclass(frozen=True)
class World:
    """`ego` is the camera at time 0; it drives along z with `ego_speed` (m/s), swaying a little in its lane."""

    ego: Camera
    ego_speed: float
    light: Light
    ground: Colour
    patches: tuple[Patch, ...]
    movers: tuple[Mover, ...]
    skyline: tuple[Colour, float]
    seed: int

    def at(self, time: float, instant: int = 0) -> Scene:
        """The moment `time` seconds on. An instant of its own gives it its own grain."""
        swing = 2 * math.pi * time / 7.0
        way = self.ego_speed * time
        # the yaw follows the sideways motion; the nose nods as on a real road
        camera = Camera(
            x=self.ego.x + 0.18 * math.sin(swing),
            z=self.ego.z + way,
            height=self.ego.height,
            yaw=self.ego.yaw + 0.012 * (math.cos(swing) - 1),
            pitch=self.ego.pitch + 0.0025 * math.sin(9.0 * time),
        )
        actors = [m.at(time) for m in self.movers if -_BEHIND < m.z_at(time) - camera.z < _BEYOND]
        return Scene(
            camera, self.light, self.ground, self.patches, tuple(actors), self.seed, instant, skyline=self.skyline
        )
