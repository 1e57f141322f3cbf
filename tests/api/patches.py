"""Pictures to look at."""

from __future__ import annotations

import cv2
import numpy as np

CLASSES = ("Car", "Pedestrian")


def patches(seed: int, height: int = 60, width: int = 100) -> np.ndarray:
    """Patches of colour, so that predictions differ from place to place."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
