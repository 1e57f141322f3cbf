"""KITTI's annotations, computed from what was painted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from data.formats.kitti import DONT_CARE, Label
from data.scenes.camera import HEIGHT, WIDTH, Camera
from data.scenes.scene import Actor

SMALLEST = 25.0  # pixels of height: KITTI scores nothing smaller at any difficulty
FARTHEST = 90.0  # metres
_HIDDEN = 0.08  # a smaller visible share (or area) is not annotated at all
_FEWEST = 12  # visible pixels


@dataclass(frozen=True)
class Silhouette:
    """What the image would show of an actor if nobody stood before it.

    area: canvas pixels; box: x1 y1 x2 y2 around them in image pixels; full: the box before the image cut it.
    """

    actor: Actor
    identity: int
    area: int
    box: tuple[float, float, float, float]
    full: tuple[float, float, float, float]
    scale: int

    @classmethod
    def take(cls, actor: Actor, identities: np.ndarray, identity: int, extent: np.ndarray, scale: int) -> Silhouette:
        """Measure the pixels of an identity [rows, columns], looking only where the extent [2, 2] says it can be."""
        rows, columns = identities.shape
        (x1, y1), (x2, y2) = np.clip(extent * scale, -4, (columns + 4, rows + 4)).astype(int)
        left, top = max(x1 - 8, 0), max(y1 - 8, 0)
        mask = (identities[top : max(y2 + 9, top), left : max(x2 + 9, left)] == identity).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask) if mask.size else (0, 0, 0, 0)
        area = cv2.countNonZero(mask) if mask.size else 0
        corners = (left + x, top + y, left + x + width, top + y + height)
        box = tuple(
            min(value / scale, limit) for value, limit in zip(corners, 2 * (WIDTH - 1, HEIGHT - 1), strict=True)
        )
        full = (float(extent[0, 0]), float(extent[0, 1]), float(extent[1, 0]), float(extent[1, 1]))
        return cls(actor, identity, area, (box[0], box[1], box[2], box[3]), full, scale)

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    def truncation(self) -> float:
        """The share of the object's box that lies outside the image."""
        x1, y1, x2, y2 = self.full
        inside = max(0.0, min(x2, WIDTH) - max(x1, 0)) * max(0.0, min(y2, HEIGHT) - max(y1, 0))
        return min(1.0, max(0.0, 1.0 - inside / max((x2 - x1) * (y2 - y1), 1e-6)))


def annotate(
    silhouettes: list[Silhouette], visible: np.ndarray, camera: Camera, smallest: float = SMALLEST
) -> tuple[list[Label], list[int]]:
    """visible [256]: canvas pixels left of each identity when all was painted. Nearest first, DontCare last. With the
    identity of each object.

    An object of less than `smallest` pixels of height is far clutter, part of a DontCare region.
    """
    labels, owners, clutter = [], [], []
    for silhouette in reversed(silhouettes):
        left = int(visible[silhouette.identity])
        share = left / max(silhouette.area, 1)
        if share < _HIDDEN or left < _FEWEST * silhouette.scale**2:
            continue
        actor = silhouette.actor
        place = camera.to_camera(actor.position[None])[0]
        if silhouette.height < smallest or place[2] > FARTHEST:
            clutter.append(silhouette.box)
            continue
        rotation = camera.rotation_y(actor.heading)
        alpha = rotation - math.atan2(place[0], place[2])
        owners.append(silhouette.identity)
        labels.append(
            Label(
                actor.name,
                _box(silhouette.box),
                truncation=round(silhouette.truncation(), 2),
                occlusion=occlusion(share),
                alpha=round((alpha + math.pi) % (2 * math.pi) - math.pi, 2),
                dimensions=_triple(*actor.size),
                location=_triple(*place.tolist()),
                rotation_y=round(rotation, 2),
            )
        )
    return labels + [Label(DONT_CARE, _box(box)) for box in _merged(clutter)], owners


def majority(canvas: np.ndarray) -> np.ndarray:
    """Identities [2h, 2w] -> [h, w]: whose most of a pixel's four are; of two with two each, the one of the first."""
    first, second, third, fourth = (canvas[row::2, column::2] for row in (0, 1) for column in (0, 1))
    outvoted = (first != second) & (first != third) & (first != fourth)
    others = np.where((second == third) | (second == fourth), second, np.where(third == fourth, third, first))
    return np.where(outvoted, others, first)


def occlusion(share: float) -> int:
    """KITTI's grade of a visible share: 0 fully visible, 1 partly occluded, 2 largely occluded, 3 hardly to be seen."""
    return 0 if share > 0.85 else 1 if share > 0.5 else 2 if share > 0.2 else 3


def _box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value), 2) for value in box)
    return x1, y1, x2, y2


def _triple(a: float, b: float, c: float) -> tuple[float, float, float]:
    return round(a, 2), round(b, 2), round(c, 2)


def _merged(boxes: list[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """Neighbouring boxes become one: KITTI marks regions of far clutter, not every thing in them."""
    merged: list[tuple[float, float, float, float]] = []
    for box in sorted(boxes):
        if merged and box[0] <= merged[-1][2] + 6 and box[1] <= merged[-1][3] + 6 and merged[-1][1] <= box[3] + 6:
            last = merged.pop()
            box = (last[0], min(last[1], box[1]), max(last[2], box[2]), max(last[3], box[3]))
        merged.append(box)
    return merged
