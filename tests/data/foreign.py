"""Small data sets as Roboflow, Ultralytics and COCO have them, of class names that are not KITTI's."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

COLOURS = {"bus": (200, 60, 40), "traffic light": (40, 200, 60)}
Boxes = list[tuple[str, int, int, int, int]]


def picture(rng: np.random.Generator, path: Path, size: tuple[int, int] = (64, 128), vary: int = 0) -> Boxes:
    """Writes noise with a bus and a traffic light on it; returns them with their corners. `vary` narrows them."""
    image = rng.integers(90, 120, (*size, 3), dtype=np.uint8)
    boxes: Boxes = []
    for (name, colour), (width, height) in zip(COLOURS.items(), ((40, 20), (14, 30)), strict=True):
        x, y = int(rng.integers(2, size[1] - 50)), int(rng.integers(2, size[0] - 32))
        width -= int(rng.integers(0, vary + 1))
        image[y : y + height, x : x + width] = colour
        boxes.append((name, x, y, x + width, y + height))
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return boxes


def roboflow(root: Path, train: int = 6, val: int = 3, vary: int = 0) -> Path:
    """ROOT/train/images, ROOT/train/labels, ROOT/valid/..., and a data.yaml whose paths begin with ../"""
    rng, numbers = np.random.default_rng(0), {name: number for number, name in enumerate(COLOURS)}
    for split, count in (("train", train), ("valid", val)):
        (root / split / "labels").mkdir(parents=True)
        for k in range(count):
            name = f"{split}_{k}_jpg.rf.{k:032x}"
            boxes = picture(rng, root / split / "images" / f"{name}.jpg", vary=vary)
            lines = [
                f"{numbers[what]} {(x1 + x2) / 256} {(y1 + y2) / 128} {(x2 - x1) / 128} {(y2 - y1) / 64}\n"
                for what, x1, y1, x2, y2 in boxes
            ]
            (root / split / "labels" / f"{name}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['bus', 'traffic light']\n"
        "roboflow:\n  workspace: nobody\n"
    )
    return root


def coco(root: Path, train: int = 6, val: int = 3, vary: int = 0) -> Path:
    """ROOT/annotations/instances_train2017.json and ROOT/train2017, with a crowd and a category that nothing is of."""
    rng = np.random.default_rng(0)
    categories = [{"id": 3, "name": "bus"}, {"id": 7, "name": "traffic light"}, {"id": 9, "name": "zebra"}]
    numbers = {str(category["name"]): category["id"] for category in categories}
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", train), ("val2017", val)):
        images, annotations = [], []
        for k in range(count):
            number = 100 + k
            boxes = picture(rng, root / split / f"{number:012}.jpg", vary=vary)
            images.append({"id": number, "file_name": f"{number:012}.jpg", "height": 64, "width": 128})
            rows = [(name, x1, y1, x2 - x1, y2 - y1, 0) for name, x1, y1, x2, y2 in boxes]
            rows += [("bus", 0, 0, 12.5, 4.25, 1)] if k == 0 else []
            for name, x, y, width, height, crowd in rows:
                row = {"id": len(annotations) + 1, "image_id": number, "category_id": numbers[name], "iscrowd": crowd}
                annotations.append({**row, "bbox": [x, y, width, height], "area": width * height, "segmentation": []})
        content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    (root / "annotations" / "captions_train2017.json").write_text('{"info": {}, "images": [], "annotations": []}')
    return root


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
