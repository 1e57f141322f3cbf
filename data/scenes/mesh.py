"""A Shape as arrays, ready to be projected at one go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.scenes.shapes import Blob, Shape, Stroke, bounds


@dataclass(frozen=True)
class Faces:
    """Polygons first..last of the mesh."""

    first: int
    last: int


@dataclass(frozen=True)
class Spheres:
    """Spheres first..last of the mesh, painted as their hull in the colour of row `colour`."""

    first: int
    last: int
    colour: int


@dataclass(frozen=True)
class Line:
    """Points first..last of the mesh."""

    first: int
    last: int
    radius: float
    colour: int


class Mesh:
    """points [V, 3]; polygon k has points starts[k]..starts[k+1], normals, centres, glows, extents (its size, m).

    spheres [M, 4]; colours [C, 3], of the polygons first and of hulls and lines after them.
    """

    def __init__(self, shape: Shape) -> None:
        points: list[np.ndarray] = []
        starts, normals, centres, glows, colours = [0], [], [], [], []
        spheres: list[np.ndarray] = []
        for part in shape.parts:
            if isinstance(part, list):
                for face in part:
                    for polygon, colour, glow in zip(face.polygons, face.colours, face.glows, strict=True):
                        points.append(polygon)
                        starts.append(starts[-1] + len(polygon))
                        normals.append(face.normal)
                        centres.append(face.polygons[0][0])
                        glows.append(glow)
                        colours.append(colour)
        self.count = len(glows)
        self.parts: list[Faces | Spheres | Line] = []
        polygon_at, point_at, sphere_at = 0, starts[-1], 0
        for part in shape.parts:
            if isinstance(part, Blob):
                spheres.append(part.spheres)
                self.parts.append(Spheres(sphere_at, sphere_at + len(part.spheres), len(colours)))
                sphere_at += len(part.spheres)
                colours.append(part.colour)
            elif isinstance(part, Stroke):
                points.append(part.points)
                self.parts.append(Line(point_at, point_at + len(part.points), part.radius, len(colours)))
                point_at += len(part.points)
                colours.append(part.colour)
            else:
                count = sum(len(face.polygons) for face in part)
                self.parts.append(Faces(polygon_at, polygon_at + count))
                polygon_at += count
        self.points = np.concatenate(points) if points else np.zeros((0, 3))
        self.starts = starts
        self.normals = np.array(normals).reshape(-1, 3)
        self.centres = np.array(centres).reshape(-1, 3)
        self.glows = np.array(glows).reshape(-1, 1)
        self.spheres = np.concatenate(spheres) if spheres else np.zeros((0, 4))
        self.colours = np.array(colours, dtype=float).reshape(-1, 3)
        self.extents = np.zeros(self.count)
        if self.count:
            drawn = self.points[: starts[-1]]
            spans = np.maximum.reduceat(drawn, starts[:-1]) - np.minimum.reduceat(drawn, starts[:-1])
            self.extents = spans.max(axis=1)
        self.bounds = np.array([bounds(part) for part in shape.parts])  # [parts, 2, 3]
        self.low, self.high = self.bounds[:, 0].min(axis=0), self.bounds[:, 1].max(axis=0)
        self.middles = self.bounds.mean(axis=1)
        self.reach = float(np.abs([self.low, self.high]).max())  # metres from the origin
        self.listed = shape.listed
        self.rounded = all(isinstance(part, Blob | Stroke) for part in shape.parts)

    @property
    def size(self) -> tuple[float, float, float]:
        """KITTI's dimensions: height, width, length in metres."""
        length, height, width = self.high - (self.low[0], 0.0, self.low[2])
        return float(height), float(width), float(length)
