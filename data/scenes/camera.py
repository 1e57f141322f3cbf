"""The camera of KITTI's left colour images, standing in a street.

World: x right, y up, z along the street, metres, the ground at y = 0. Camera: X right, Y down, Z forward (KITTI's own).
A heading t points along (cos t, -sin t) in (x, z), so that with the camera's yaw taken off it is KITTI's rotation_y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

WIDTH, HEIGHT = 1242, 375
FOCAL, CENTRE_X, CENTRE_Y = 721.5377, 609.5593, 172.854
NEAR = 0.4  # metres; nothing closer is drawn

AHEAD, TOWARDS, RIGHTWARDS, LEFTWARDS = -math.pi / 2, math.pi / 2, 0.0, math.pi


@dataclass(frozen=True)
class Camera:
    x: float = 0.0
    z: float = 0.0
    height: float = 1.65
    yaw: float = 0.0  # radians, to the right
    pitch: float = 0.0  # radians, downwards

    @cached_property
    def eye(self) -> np.ndarray:
        return np.array([self.x, self.height, self.z])

    @cached_property
    def rotation(self) -> np.ndarray:
        """[3, 3], camera = rotation @ (world - eye)."""
        sin_y, cos_y, sin_p, cos_p = math.sin(self.yaw), math.cos(self.yaw), math.sin(self.pitch), math.cos(self.pitch)
        level = np.array([[cos_y, 0, -sin_y], [0, -1, 0], [sin_y, 0, cos_y]])
        nod = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
        return nod @ level

    @cached_property
    def horizon(self) -> float:
        """The image row of the horizon."""
        return CENTRE_Y - FOCAL * math.tan(self.pitch)

    def to_camera(self, world: np.ndarray) -> np.ndarray:
        """[n, 3] world -> [n, 3] camera."""
        return (world - self.eye) @ self.rotation.T

    def rotation_y(self, heading: float) -> float:
        """KITTI's rotation_y of a heading, in [-pi, pi)."""
        return (heading - self.yaw + math.pi) % (2 * math.pi) - math.pi


def project(points: np.ndarray) -> np.ndarray:
    """[n, 3] camera coordinates with Z > 0 -> [n, 2] pixels."""
    return points[:, :2] * (FOCAL / points[:, 2:]) + (CENTRE_X, CENTRE_Y)


def clip_near(polygon: np.ndarray) -> np.ndarray:
    """The part of a polygon [n, 3] (camera coordinates) in front of the near plane (Sutherland and Hodgman)."""
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if start[2] >= NEAR:
            kept.append(start)
        if (start[2] >= NEAR) != (end[2] >= NEAR):
            kept.append(start + (end - start) * ((NEAR - start[2]) / (end[2] - start[2])))
    return np.array(kept).reshape(-1, 3)
