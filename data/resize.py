"""An image to the network's size by one of three policies, and boxes there and back: for training, eval and detect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np

OF_ONE_SIZE = ("stretch", "letterbox")  # every input as large as every other
POLICIES = (*OF_ONE_SIZE, "shorter")
LONGEST = Fraction(5, 3)  # of the shorter side: 1333 of 800, as torchvision's detectors have it
STRIDE = 32  # the network's coarsest map: sides of its input are multiples of it
LARGEST = 8192  # pixels a side of a network input
PADDING = 114  # grey: near the mean of natural images, so that bars do not look like an edge of anything


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image was placed in the network input: x' = x * scale_x + offset_x, likewise y. Sizes: (height, width)."""

    source: tuple[int, int]
    target: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def apply(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] xyxy in pixels of the source -> pixels of the network input (same dtype, not clipped)."""
        return (boxes * np.array(self.scale * 2) + np.array(self.offset * 2)).astype(boxes.dtype)

    def invert(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] xyxy in pixels of the network input -> pixels of the source (same dtype, not clipped)."""
        return ((boxes - np.array(self.offset * 2)) / np.array(self.scale * 2)).astype(boxes.dtype)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the part of the network input that the image covers, whole pixels."""
        (height, width), (x, y) = self.source, (round(v) for v in self.offset)
        return x, y, x + round(width * self.scale[0]), y + round(height * self.scale[1])


def fit(source_hw: tuple[int, int], target_hw: tuple[int, int], policy: str) -> Geometry:
    """The geometry that puts a (height, width) image into the network input.

    "stretch" fills the input with independent scales; "letterbox" scales evenly, centres and pads. A letterboxed image
    covers whole pixels: its scales are those of the rounded size, so they may differ by half a pixel's worth.
    "shorter" scales evenly until the shorter side is that of the input, or the longer one 5/3 of that, and pads at the
    right and below to multiples of 32: every image has an input of its own size.
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
    if policy == "shorter":
        shorter = min(target_hw)
        even = min(Fraction(shorter, min(source_hw)), Fraction(int(shorter * LONGEST), max(source_hw)))
        new_height, new_width = max(1, int(height * even)), max(1, int(width * even))
        target = (_padded(new_height), _padded(new_width))
        return Geometry(source_hw, target, (new_width / width, new_height / height), (0.0, 0.0))
    raise ValueError(f"unknown resize policy {policy!r}, expected {', '.join(POLICIES)}")


def fit_together(sources: Sequence[tuple[int, int]], target_hw: tuple[int, int], policy: str) -> list[Geometry]:
    """The geometries of images that share a batch, each padded to the largest of them."""
    alone = [fit(source, target_hw, policy) for source in sources]
    height, width = (max(geometry.target[axis] for geometry in alone) for axis in (0, 1))
    return [replace(geometry, target=(height, width)) for geometry in alone]


def largest_input(target_hw: tuple[int, int], policy: str) -> tuple[int, int]:
    """The largest that a batch can be: a tall and a wide image together."""
    side = _padded(int(min(target_hw) * LONGEST))
    return (side, side) if policy == "shorter" else target_hw


def size_choices(size: tuple[int, int], size_range: tuple[int, int] | None) -> list[tuple[int, int]]:
    """The (height, width) a batch may have: `size` alone, or every height that is a multiple of 32 in the range
    (both ends included) with the width that keeps the aspect of `size`, rounded to a multiple of 32."""
    height, width = size
    if min(size) < STRIDE or height % STRIDE or width % STRIDE:
        raise ValueError(f"input size {height}x{width} (height x width): both must be multiples of {STRIDE}")
    if size_range is None:
        return [size]
    low, high = size_range
    heights = range(-(-low // STRIDE) * STRIDE, high + 1, STRIDE)
    if low < STRIDE or high > LARGEST or not heights:
        expected = f"expected it to hold a multiple of {STRIDE}, smallest first, up to {LARGEST}"
        raise ValueError(f"size range {low}..{high}: {expected}")
    return [(h, max(STRIDE, round(h * width / height / STRIDE) * STRIDE)) for h in heights]


def _padded(side: int) -> int:
    return -(-side // STRIDE) * STRIDE


def resize(image: np.ndarray, geometry: Geometry, out: np.ndarray | None = None, padding: int = PADDING) -> np.ndarray:
    """Image uint8 [h, w, 3] -> uint8 [H, W, 3] of `geometry.target`, padded with grey; written into `out` if given.

    The image may be a reduced copy of the source: it is made to cover the same part of the input.
    """
    height, width = geometry.target
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    x1, y1, x2, y2 = geometry.content
    if (x1, y1, x2, y2) != (0, 0, width, height):
        out[:] = padding
    reduced = halve(image, (x2 - x1) / image.shape[1], (y2 - y1) / image.shape[0])
    cv2.resize(reduced, (x2 - x1, y2 - y1), dst=out[y1:y2, x1:x2], interpolation=cv2.INTER_LINEAR)
    return out


def resize_masks(masks: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Masks uint8 [n, h, w] of 0 and 1 -> [n, H, W]: where the resized object covers half of a pixel or more."""
    covered = np.empty((len(masks), *geometry.target), np.uint8)
    for mask, out in zip(masks, covered, strict=True):
        resize(mask * np.uint8(255), geometry, out, padding=0)
    return half_covered(covered)


def half_covered(covered: np.ndarray) -> np.ndarray:
    """Shares of pixels, 255 the whole -> masks of 0 and 1."""
    return (covered > 127).view(np.uint8)


def halve(image: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """The image [h, w, 3], or a mask [h, w], reduced to half along each axis as often as its scale allows, before a
    bilinear resize.

    Bilinear interpolation reads 2x2 pixels whatever the scale, so 1242 -> 448 (the paper's square input) would skip
    pixels and thin things would come and go with their position. Halving averages pairs of pixels and leaves a scale
    above 1/2, where bilinear reads them all. Against a resize with a full antialiasing filter this is 7 dB closer than
    bilinear alone at 448x448 and costs 0.3 ms; cv2.INTER_AREA is no filter at all once an axis grows (375 -> 448).
    """
    while scale_x <= 0.5 or scale_y <= 0.5:
        height, width = image.shape[:2]
        if scale_x <= 0.5:
            width, scale_x = max(1, width // 2), scale_x * 2
        if scale_y <= 0.5:
            height, scale_y = max(1, height // 2), scale_y * 2
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image
