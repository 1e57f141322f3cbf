"""A network small enough for tests, and something for it to look at."""

from __future__ import annotations

import cv2
import numpy as np

CLASSES = ("Car", "Pedestrian", "Cyclist")
SETTINGS = {
    "network": {"width": 0.125},
    "data": {"classes": list(CLASSES), "resize": "letterbox"},
    "phases": [{"size": [64, 96]}],
}


def pictures(count: int, height: int = 60, width: int = 100, seed: int = 0) -> list[np.ndarray]:
    """Patches of colour, so that predictions differ from place to place."""
    random = np.random.default_rng(seed)
    return [
        cv2.resize(random.integers(0, 256, (5, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(count)
    ]
