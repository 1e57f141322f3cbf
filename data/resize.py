"""Stretch or letterbox an image to the network's size, and boxes there and back: one place for train, eval, detect."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

PADDING = 114  # grey: near the mean of natural images, so that bars do not look like an edge of anything


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image was placed in the network input: x' = x * scale_x + offset_x, likewise y. Sizes are (height, width)."""

    source: tuple[int, int]
    target: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def apply(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] xyxy in pixels of the source -> pixels of the network input (same dtype, not clipped)."""
        return (boxes * np.float64(self.scale * 2) + np.float64(self.offset * 2)).astype(boxes.dtype)

    def invert(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] xyxy in pixels of the network input -> pixels of the source (same dtype, not clipped)."""
        return ((boxes - np.float64(self.offset * 2)) / np.float64(self.scale * 2)).astype(boxes.dtype)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the part of the network input that the image covers, whole pixels."""
        (height, width), (x, y) = self.source, (round(v) for v in self.offset)
        return x, y, x + round(width * self.scale[0]), y + round(height * self.scale[1])


def fit(source_hw: tuple[int, int], target_hw: tuple[int, int], policy: str) -> Geometry:
    """The geometry that puts a (height, width) image into the network input.

    "stretch" fills the input with independent scales; "letterbox" scales evenly, centres and pads. A letterboxed image
    covers whole pixels: its scales are those of the rounded size, so they may differ by half a pixel's worth.
    """
    (height, width), (target_height, target_width) = source_hw, target_hw
    if min(height, width, target_height, target_width) < 1:
        raise ValueError(f"cannot fit an image of {width}x{height} into {target_width}x{target_height} pixels")
    if policy == "stretch":
        return Geometry(source_hw, target_hw, (target_width / width, target_height / height), (0.0, 0.0))
    if policy == "letterbox":
        scale = min(target_height / height, target_width / width)
        new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
        offset = (float((target_width - new_width) // 2), float((target_height - new_height) // 2))
        return Geometry(source_hw, target_hw, (new_width / width, new_height / height), offset)
    raise ValueError(f"unknown resize policy {policy!r}, expected stretch or letterbox")


def resize(image: np.ndarray, geometry: Geometry, out: np.ndarray | None = None) -> np.ndarray:
    """Image uint8 [h, w, 3] -> uint8 [H, W, 3] of `geometry.target`, padded with grey; written into `out` if given.

    The image may be a reduced copy of the source: it is made to cover the same part of the input.
    """
    height, width = geometry.target
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    x1, y1, x2, y2 = geometry.content
    if (x1, y1, x2, y2) != (0, 0, width, height):
        out[:] = PADDING
    reduced, _ = reduce(image, (x2 - x1) / image.shape[1], (y2 - y1) / image.shape[0])
    cv2.resize(reduced, (x2 - x1, y2 - y1), dst=out[y1:y2, x1:x2], interpolation=cv2.INTER_LINEAR)
    return out


def reduce(image: np.ndarray, scale_x: float, scale_y: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Average whole blocks of pixels before a bilinear resize that would step over some of them.

    Bilinear interpolation reads 2x2 pixels whatever the scale, so 1242 -> 448 would skip pixels: thin things flicker
    with their position (aliasing). Returns the image reduced by whole factors, and those factors (x, y).
    """
    factors = (_factor(scale_x), _factor(scale_y))
    if factors == (1, 1):
        return image, factors
    height, width = image.shape[:2]
    return cv2.resize(image, (width // factors[0], height // factors[1]), interpolation=cv2.INTER_AREA), factors


def _factor(scale: float) -> int:
    return max(1, int(1 / scale + 1e-6))
