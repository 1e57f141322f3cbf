"""Crop, rotation, flip and resize as one affine map, colour as one matrix: the fast way to change a frame at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from data.resize import PADDING, fit, half_covered, halve
from data.settings import AugmentSettings

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 of the part of the source to show, whole pixels

# RGB -> luma and the two axes of colour (NTSC): turning the plane of colour changes the hue, scaling it the saturation.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)


@dataclass(frozen=True, slots=True)
class Warp:
    """x', y' = matrix [2, 3] · (x, y, 1): pixels of the source -> pixels of the target. What is shown fills `content`
    (x1, y1, x2, y2 in the target); the rest is padding. Coordinates are continuous: pixel 0 reaches from 0 to 1."""

    matrix: np.ndarray
    content: Window

    def image(self, source: np.ndarray, out: np.ndarray, padding: int = PADDING) -> None:
        """Draw uint8 [h, w, 3] into `out` [H, W, 3], which may be a view."""
        x1, y1, x2, y2 = self.content
        if (y2 - y1, x2 - x1) != out.shape[:2]:
            out[:] = padding
        height, width = source.shape[:2]
        reduced = halve(source, *np.linalg.norm(self.matrix[:, :2], axis=0))
        # index in `reduced` <- index in the content: by way of continuous pixels of the target and of the source
        to_target = np.array([[1, 0, x1 + 0.5], [0, 1, y1 + 0.5], [0, 0, 1.0]])
        to_source = np.linalg.inv(np.vstack([self.matrix, [0, 0, 1]]))
        shrink = np.diag([reduced.shape[1] / width, reduced.shape[0] / height, 1])
        whole = shrink @ to_source @ to_target
        whole[:2, 2] -= 0.5
        cv2.warpAffine(
            reduced,
            whole[:2],
            (x2 - x1, y2 - y1),
            dst=out[y1:y2, x1:x2],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderValue=(padding,) * 3,
        )

    def masks(self, masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Masks uint8 [n, h, w] of 0 and 1 -> [n, H, W] of (height, width) `size`, where `image` shows their pixels."""
        covered = np.empty((len(masks), *size), np.uint8)
        for mask, out in zip(masks, covered, strict=True):
            self.image(mask * np.uint8(255), out, padding=0)
        return half_covered(covered)

    def objects(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] -> the boxes of their inscribed ellipses, not clipped. Exact without rotation.

        Things seldom reach into the corners of their box: the box around its turned corners is too large (13 % of a
        car's height at 3 degrees); the ellipse's is nearly as tight as one drawn anew (Kalra et al., ICCV 2021).
        """
        return self._boxes(boxes, np.hypot)

    def regions(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] -> the boxes of their turned corners, not clipped: all that was to be ignored still is."""
        return self._boxes(boxes, np.add)

    def _boxes(self, boxes: np.ndarray, join: np.ufunc) -> np.ndarray:
        centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        centres = centres @ self.matrix[:, :2].T + self.matrix[:, 2]
        along_x, along_y = (np.abs(halves[:, axis, None] * self.matrix[:, axis]) for axis in (0, 1))
        reach = join(along_x, along_y)
        return np.hstack([centres - reach, centres + reach]).astype(np.float32)


def make_warp(window: Window, target: tuple[int, int], policy: str, degrees: float = 0.0, flip: bool = False) -> Warp:
    """Show `window` of a source in a target (height, width) by the resize policy, turned about the window's centre."""
    x1, y1, x2, y2 = window
    geometry = fit((y2 - y1, x2 - x1), target, policy)
    content = geometry.content
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    (scale_x, scale_y), turn = geometry.scale, math.radians(degrees)
    if flip:
        scale_x = -scale_x
    linear = np.array(
        [[scale_x * math.cos(turn), -scale_x * math.sin(turn)], [scale_y * math.sin(turn), scale_y * math.cos(turn)]]
    )
    middle = np.array([content[0] + content[2], content[1] + content[3]]) / 2
    shift = middle - linear @ np.array([centre_x, centre_y])
    return Warp(np.hstack([linear, shift[:, None]]), content)


def random_warp(
    window: Window, target: tuple[int, int], policy: str, settings: AugmentSettings, rng: np.random.Generator
) -> Warp:
    degrees, flip = rng.uniform(-settings.rotation, settings.rotation), rng.random() < settings.flip
    return make_warp(window, target, policy, degrees, flip)


def random_colour(settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray | None:
    """Matrix [3, 4] float32 for `cv2.transform` of an RGB image; None where the settings change no colour.

    Hue, saturation and exposure as YIQ rotation, scale and gain: one pass of 3x3 products. The same in HSV takes two
    conversions and a table, ten times as long, and makes noise of the hue of grey pixels (most of a road).
    """
    hue = rng.uniform(-settings.hue, settings.hue) * 2 * math.pi
    saturation = 1 + rng.uniform(-settings.saturation, settings.saturation)
    value = 1 + rng.uniform(-settings.value, settings.value)
    if not (settings.hue or settings.saturation or settings.value):
        return None
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[math.cos(hue), -math.sin(hue)], [math.sin(hue), math.cos(hue)]])
    return np.hstack([value * _RGB @ turn @ _YIQ, np.zeros((3, 1))]).astype(np.float32)


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas [n] of boxes [n, 4]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
