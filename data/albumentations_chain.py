"""The paper's random changes one by one through albumentations: the slower engine, to compare the fused warp with."""

from __future__ import annotations

import os

import numpy as np

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the internet for its newest version on import
import albumentations as A

from data.detection import Sample
from data.resize import PADDING, fit, resize
from data.settings import AugmentSettings
from data.warp import Window, area


class Chain:
    """Crop and resize, then rotation, flip and colour at the network's size, where they cost a third.

    Two differences from the fused warp: the rotation happens after a stretch, so it shears things a little, and the
    second interpolation softens the picture. Colour has the same meaning and strength: ColorJitter's brightness is a
    gain, its saturation a blend with luma (HueSaturationValue adds instead, and takes five times as long).
    """

    def __init__(self, settings: AugmentSettings) -> None:
        turn, hue = settings.rotation, settings.hue
        saturation, value = ((1 - part, 1 + part) for part in (settings.saturation, settings.value))
        changes = [
            A.Rotate((-turn, turn), border_mode=0, fill=PADDING, rotate_method="ellipse", p=float(turn > 0)),
            A.HorizontalFlip(p=settings.flip),
            A.ColorJitter(value, (1, 1), saturation, (-hue, hue), p=1),
        ]
        self._compose = A.Compose(changes, bbox_params=A.BboxParams(format="pascal_voc", label_fields=["numbers"]))

    def __call__(
        self,
        sample: Sample,
        window: Window,
        policy: str,
        settings: AugmentSettings,
        rng: np.random.Generator,
        out: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Window]:
        """Draw the window into `out`; the same four results as the fused warp."""
        x1, y1, x2, y2 = window
        geometry = fit((y2 - y1, x2 - x1), (out.shape[0], out.shape[1]), policy)
        resize(sample.image[y1:y2, x1:x2], geometry, out)
        left, top, right, bottom = geometry.content
        picture = out[top:bottom, left:right]

        shift = np.array([left, top, left, top])
        source = np.concatenate([sample.boxes, sample.ignore]).astype(np.float64) - [x1, y1, x1, y1]
        whole = geometry.apply(source) - shift
        clipped = np.clip(whole, 0, [right - left, bottom - top] * 2)
        numbers = np.flatnonzero((clipped[:, 2:] - clipped[:, :2] > 0.1).all(axis=1))

        self._compose.set_random_seed(int(rng.integers(2**31)))
        changed = self._compose(image=picture, bboxes=clipped[numbers], numbers=numbers)
        picture[:] = changed["image"]
        boxes = np.zeros((len(whole), 4), np.float32)  # what is no longer in the picture stays a box of no area
        boxes[np.array(changed["numbers"], np.int64)] = changed["bboxes"]
        boxes += shift.astype(np.float32)
        count = len(sample.boxes)
        return boxes[:count], area(whole[:count]), boxes[count:], geometry.content
