"""A data set of coloured boxes on noise, small enough that a run takes seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

COLOURS = {"Car": (200, 60, 40), "Pedestrian": (40, 200, 60)}


def make_dataset(root: Path, frames: int = 12) -> Path:
    """KITTI layout, 128 x 64, one Car and one Pedestrian a frame; the last quarter validates."""
    rng = np.random.default_rng(0)
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (root / folder).mkdir(parents=True)
    for k in range(frames):
        image = rng.integers(90, 120, (64, 128, 3), dtype=np.uint8)
        lines = []
        for name, colour in COLOURS.items():
            x, y = int(rng.integers(2, 80)), int(rng.integers(2, 30))
            x2, y2 = (x + 40, y + 20) if name == "Car" else (x + 14, y + 30)
            image[y:y2, x:x2] = colour
            lines.append(f"{name} 0.00 0 0.00 {x}.00 {y}.00 {x2}.00 {y2}.00 1.50 1.60 3.50 1.00 1.50 20.00 0.00\n")
        cv2.imwrite(str(root / f"training/image_2/{k:06d}.png"), image)
        (root / f"training/label_2/{k:06d}.txt").write_text("".join(lines))
    ids = [f"{k:06d}\n" for k in range(frames)]
    (root / "ImageSets/train.txt").write_text("".join(ids[: frames * 3 // 4]))
    (root / "ImageSets/val.txt").write_text("".join(ids[frames * 3 // 4 :]))
    return root


@pytest.fixture(scope="session")
def boxes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("boxes") / "data")


@pytest.fixture()
def tiny_config(tmp_path: Path, boxes_root: Path) -> Path:
    """Three epochs of four steps, two of them at another size."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"name: tiny\n"
        f"data: {{root: '{boxes_root}', workers: 0, classes: [Car, Pedestrian]}}\n"
        f"network: {{width: 0.125}}\n"
        f"phases: [{{size: 64, epochs: 1, batch_size: 2}}, {{size: [64, 128], epochs: 2, batch_size: 2}}]\n"
        f"train: {{runs: '{tmp_path / 'runs'}', precision: fp32, validate_every: 0, threads: 1}}\n"
    )
    return path
