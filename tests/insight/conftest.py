"""Checkpoints of a small detector, and frames with one car each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_detector import awake

from detector.inference.trained import Trained


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Trained, str], Path]:
    folder = tmp_path_factory.mktemp("weights")

    def saved(trained: Trained, name: str) -> Path:
        path = folder / f"{name}.pt"
        trained.save(path)
        return path

    return saved


@pytest.fixture(scope="session")
def weights(save: Callable[[Trained, str], Path]) -> Path:
    return save(awake(), "emca")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KITTI's layout: four frames of 60 x 120, two of them to validate."""
    root = tmp_path_factory.mktemp("frames")
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(4):
        image = rng.integers(90, 120, (60, 120, 3), dtype=np.uint8)
        image[20:50, 30 + k : 90 + k] = (200, 60, 40)
        cv2.imwrite(str(root / f"training/image_2/{k:06d}.png"), image)
        line = f"Car 0.00 0 0.00 {30 + k}.00 20.00 {90 + k}.00 50.00 1.5 1.6 3.5 1.0 1.5 20.0 0.0\n"
        (root / f"training/label_2/{k:06d}.txt").write_text(line)
    (root / "ImageSets/train.txt").write_text("000000\n000001\n")
    (root / "ImageSets/val.txt").write_text("000002\n000003\n")
    return root
