"""A KITTI-layout data set of noise, made for a test, and where the real one may be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "kitti"

DEFAULT_LABELS = (
    "Car 0.00 0 1.85 10.00 20.00 60.00 50.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    "Van 0.00 0 1.85 70.00 20.00 90.00 50.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    "DontCare -1 -1 -10 100.00 10.00 120.00 30.00 -1 -1 -1 -1000 -1000 -1000 -10\n"
)


def make_dataset(
    root: Path, frames: int = 6, size: tuple[int, int] = (60, 160), suffix: str = ".png", labels: str = DEFAULT_LABELS
) -> Path:
    """`frames` images of noise, (height, width) `size`, listed in ImageSets/train.txt, all with the same labels."""
    rng = np.random.default_rng(frames)
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"{number:06d}" for number in range(frames)]
    for name in names:
        cv2.imwrite(str(root / f"training/image_2/{name}{suffix}"), rng.integers(0, 256, (*size, 3), np.uint8))
        (root / f"training/label_2/{name}.txt").write_text(labels)
    (root / "ImageSets/train.txt").write_text("\n".join(names) + "\n")
    return root


def real_kitti() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"real KITTI frames are not here ({SHARED})")
    return SHARED
