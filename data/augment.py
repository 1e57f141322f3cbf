"""Random changes of training frames, and the plain placement of all others: a Sample in, a network input out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.detection import Sample, clip
from data.effects import Effects
from data.resize import Geometry, fit, resize, resize_masks
from data.settings import AugmentSettings
from data.warp import Window, area, random_colour, random_warp

ASPECT_SHARE = 0.25  # a crop gives each axis between 1/4 and 3/4 of the (logarithmic) reduction of the area


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame as the network gets it: image uint8 [H, W, 3]; boxes [n, 4], labels [n], ignore [m, 4] in its pixels,
    masks uint8 [n, H, W] where the sample has them.

    `geometry` is the plain placement of the frame; after random changes it tells sizes only.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    frame: str
    geometry: Geometry
    masks: np.ndarray | None = None


def place(sample: Sample, policy: str, out: np.ndarray) -> Placed:
    """The frame resized into `out` [H, W, 3], unchanged otherwise: what validation and detection see."""
    size = (out.shape[0], out.shape[1])
    geometry = fit(sample.source, size, policy)
    resize(sample.image, geometry, out)
    here = fit((sample.image.shape[0], sample.image.shape[1]), sample.source, "stretch")  # of a reduced copy
    boxes, rows = clip(geometry.apply(here.apply(sample.boxes)), np.arange(len(sample.boxes)), size)
    ignore, _ = clip(geometry.apply(here.apply(sample.ignore)), np.full(len(sample.ignore), -1), size)
    masks = None if sample.masks is None else resize_masks(sample.masks[rows], geometry)
    return Placed(out, boxes, sample.labels[rows], ignore, sample.frame, geometry, masks)


class Augment:
    """Applies the settings' random changes; what copy-paste adds is in the samples already. All randomness comes from
    the generator that is passed in."""

    def __init__(self, settings: AugmentSettings, policy: str) -> None:
        self.settings, self.policy = settings, policy
        self._effects = Effects(settings.albumentations)

    def __call__(
        self, sample: Sample, rng: np.random.Generator, another: Callable[[], Sample], out: np.ndarray
    ) -> Placed:
        """Draw the changed frame into `out` [H, W, 3]. `another` supplies random frames for mosaic and mixup."""
        placed = self._frame_or_mosaic(sample, rng, another, out)
        if rng.random() < self.settings.mixup:
            second = self._frame_or_mosaic(another(), rng, another, np.empty_like(out))
            share = rng.beta(8, 8)  # near one half: both frames' objects stay visible
            cv2.addWeighted(out, share, second.image, 1 - share, 0, dst=out)
            placed = _joined(placed, [placed, second])
        return placed

    def _frame_or_mosaic(
        self, sample: Sample, rng: np.random.Generator, another: Callable[[], Sample], out: np.ndarray
    ) -> Placed:
        if rng.random() < self.settings.mosaic:
            return self._mosaic([sample, another(), another(), another()], rng, out)
        height, width = sample.image.shape[:2]
        window = (0, 0, width, height)
        if rng.random() < self.settings.crop:
            window = crop_window(sample.boxes, (height, width), self.settings.crop_min_area, rng)
        return self._one(sample, window, self.policy, rng, out)

    def _mosaic(self, samples: list[Sample], rng: np.random.Generator, out: np.ndarray) -> Placed:
        """Four frames around a random point. Each shows a part of itself in the proportions the network is used to,
        at between its usual size and that of the whole frame squeezed into its quarter."""
        height, width = out.shape[:2]
        middle_x, middle_y = (round(side * rng.uniform(0.35, 0.65)) for side in (width, height))
        parts = []
        for number, sample in enumerate(samples):
            x1, x2 = ((0, middle_x), (middle_x, width))[number % 2]
            y1, y2 = ((0, middle_y), (middle_y, height))[number // 2]
            usual = fit((sample.image.shape[0], sample.image.shape[1]), (height, width), self.policy).scale
            full = sample.image.shape[1] * usual[0], sample.image.shape[0] * usual[1]
            least = max((x2 - x1) / full[0], (y2 - y1) / full[1])  # the part must fill its quarter
            zoom = rng.uniform(least, max(least, 1))
            window = _random_window(sample.image, (x2 - x1) / usual[0] / zoom, (y2 - y1) / usual[1] / zoom, rng)
            part = self._one(sample, window, "stretch", rng, out[y1:y2, x1:x2])
            shift = np.array([x1, y1, x1, y1], np.float32)
            masks = None if part.masks is None else _moved(part.masks, (x1, y1), (height, width))
            parts.append(replace(part, boxes=part.boxes + shift, ignore=part.ignore + shift, masks=masks))
        return _joined(
            replace(parts[0], image=out, geometry=fit(samples[0].source, (height, width), self.policy)), parts
        )

    def _one(self, sample: Sample, window: Window, policy: str, rng: np.random.Generator, out: np.ndarray) -> Placed:
        """One frame's window changed into `out`; objects cut too far become regions to ignore."""
        warp = random_warp(window, (out.shape[0], out.shape[1]), policy, self.settings, rng)
        warp.image(sample.image, out)
        x1, y1, x2, y2 = warp.content
        picture = out[y1:y2, x1:x2]  # padding stays grey
        colour = random_colour(self.settings, rng)
        if colour is not None:
            cv2.transform(picture, colour, dst=picture)
        self._effects(picture, rng)

        boxes, ignore = warp.objects(sample.boxes), warp.regions(sample.ignore)
        low, high = np.array([x1, y1] * 2, np.float32), np.array([x2, y2] * 2, np.float32)
        inside, regions = np.clip(boxes, low, high), np.clip(ignore, low, high)
        left = area(inside) / np.maximum(area(boxes), 1e-9)
        seen = _visible(inside)
        kept = seen & (left >= self.settings.min_visible)
        uncounted = np.concatenate([regions[_visible(regions)], inside[seen & ~kept]])
        geometry = fit(sample.source, (out.shape[0], out.shape[1]), policy)
        masks = None if sample.masks is None else warp.masks(sample.masks[kept], (out.shape[0], out.shape[1]))
        return Placed(out, inside[kept], sample.labels[kept], uncounted, sample.frame, geometry, masks)


def crop_window(boxes: np.ndarray, hw: tuple[int, int], min_area: float, rng: np.random.Generator) -> Window:
    """A random part of the image, at least `min_area` of it, around the whole of one random object, if any."""
    height, width = hw
    share, bend = rng.uniform(min_area, 1), rng.uniform(ASPECT_SHARE, 1 - ASPECT_SHARE)
    x1, y1, x2, y2 = boxes[rng.integers(len(boxes))] if len(boxes) else (width / 2, height / 2) * 2
    left, right = _span(x1, x2, width, math.ceil(width * share**bend), rng)
    top, bottom = _span(y1, y2, height, math.ceil(height * share ** (1 - bend)), rng)
    return left, top, right, bottom


def _span(low: float, high: float, size: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """A random stretch of at least `length` whole pixels within 0..size that holds low..high."""
    first, last = math.floor(low), math.ceil(high)
    length = min(size, max(length, last - first))
    start = int(rng.integers(max(0, last - length), min(first, size - length) + 1))
    return start, start + length


def _random_window(image: np.ndarray, width: float, height: float, rng: np.random.Generator) -> Window:
    (full_height, full_width), x_span, y_span = image.shape[:2], max(1, round(width)), max(1, round(height))
    x = int(rng.integers(max(0, full_width - x_span) + 1))
    y = int(rng.integers(max(0, full_height - y_span) + 1))
    return x, y, min(full_width, x + x_span), min(full_height, y + y_span)


def _moved(masks: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Masks [n, h, w] of a part whose corner (x, y) this is -> [n, H, W] of the whole of (height, width) `size`."""
    (x, y), (rows, columns) = corner, masks.shape[1:]
    whole = np.zeros((len(masks), *size), np.uint8)
    whole[:, y : y + rows, x : x + columns] = masks
    return whole


def _joined(first: Placed, parts: list[Placed]) -> Placed:
    masks = [part.masks for part in parts if part.masks is not None]
    return replace(
        first,
        boxes=np.concatenate([part.boxes for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        ignore=np.concatenate([part.ignore for part in parts]),
        masks=np.concatenate(masks) if masks else None,
    )


def _visible(boxes: np.ndarray) -> np.ndarray:
    """At least a pixel wide and high: there is something to see."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
