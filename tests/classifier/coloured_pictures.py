"""Pictures of three colours, and a recipe for them: small enough that a run takes a second or two."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLOURS = {"blue": (40, 60, 200), "green": (40, 200, 60), "red": (200, 60, 40)}


def make_pictures(root: Path, train: int = 8, val: int = 4, side: int = 32) -> Path:
    """ROOT/{train,val}/CLASS/*.png, noise in the colour of the class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                picture = np.clip(rng.normal(colour, 25, (side, side + 8, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{k}.png"), picture[..., ::-1])
    return root


def write_config(folder: Path, root: Path) -> Path:
    """Three epochs of three steps of eight pictures."""
    path = folder / "tiny.yaml"
    path.write_text(
        f"task: classification\n"
        f"name: tiny\n"
        f"data: {{root: '{root}', workers: 0, crop: padded, cache: ram}}\n"
        f"network: {{attention: eca}}\n"
        f"phases: [{{size: 32, epochs: 3, batch_size: 8}}]\n"
        f"optimizer: {{lr: 0.02, schedule: cosine, warmup_epochs: 0}}\n"
        f"train: {{runs: '{folder / 'runs'}', precision: fp32, threads: 1}}\n"
    )
    return path
