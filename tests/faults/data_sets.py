"""Data sets, damaged: data.yaml and its lists, COCO's and BDD100K's JSON, odd names in KITTI's labels."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.formats import open_source
from data.masks import area, decode
from tests.faults.damage import damage, outcome

ODD: tuple[Any, ...] = (
    *(None, True, 7, -1.5, 1e308, float("nan"), float("inf"), 10**30, "", "x", "../../x", "/etc/passwd"),
    *("\0", "\x1b[31m", "a\nb", "\udcff", "x" * 5000, [], [[1]], {}, {"a": 1}, [None] * 4, [1, 2, 3, 4], ["x"]),
    *("/dev/zero", "."),
)  # fmt: skip
YAML = (
    *("2001-99-99", "!!float x", "&a [*a]", "{0: car, 2: bus}", "[car, car]", "[[car]]", "[null]", "{? [1] : 2}"),
    *("/dev/zero", "..", '"a\\0b"', "[" * 400, "*b", "!!python/name:os.system x", "images/train", "list.txt"),
)  # fmt: skip
NAMES = ("../../x", "/etc", "\x1b[31m", "Car", "car", "x" * 300, "-", "\\", "\udcff", "DontCare", "..", "a,b", "9")


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        if not (folder / f"{name}.png").exists():
            cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))


def read_all(root: Path) -> None:
    """All that the doors ask of a data set."""
    source = open_source(root, masks=True)
    for split in (*source.splits(), "all"):
        for frame in source.frames(split):
            found = source.annotations(frame) if source.has(frame) else []
            for mask in (item.mask for item in found if item.mask):
                assert decode(mask).sum() == area(mask)  # short runs would show pixels of elsewhere
        source.class_set("auto")


def yolo(rng: random.Random, folder: Path) -> str:
    root = folder / "yolo"
    pictures(root / "images/train")
    (root / "labels/train").mkdir(parents=True, exist_ok=True)
    content = {"train": "images/train", "val": "list.txt", "names": "[car, bus]", "nc": "2", "path": "."}
    if rng.random() < 0.7:
        content[rng.choice(list(content))] = rng.choice(YAML)
    texts = {
        "data.yaml": "".join(f"{key}: {value}\n" for key, value in content.items()).encode(),
        "list.txt": b"images/train/a.png\nimages/train/b.png\n",
        "labels/train/a.txt": b"0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.9 0.1 0.9 0.9\n",
    }
    spoilt = rng.choice(list(texts))
    for name, text in texts.items():
        (root / name).write_bytes(damage(text, rng) if name == spoilt and rng.random() < 0.6 else text)
    return outcome(lambda: read_all(root), root.name)


def coco(rng: random.Random, folder: Path) -> str:
    row = {"image_id": 0, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 0, "occlusion": 1}
    masks = [[1, 1, 5, 1, 5, 5]], {"size": [8, 8], "counts": [9, 4, 51]}, {"size": [8, 8], "counts": "94c1"}
    content = {
        "images": [{"id": k, "file_name": f"{name}.png", "height": 8, "width": 8} for k, name in enumerate("ab")],
        "annotations": [{"id": k, **row, "segmentation": mask} for k, mask in enumerate(masks, 1)],
        "categories": [{"id": 3, "name": "car"}],
    }
    return listed(folder / "coco", "annotations/instances_train.json", content, rng)


def bdd100k(rng: random.Random, folder: Path) -> str:
    box = {"x1": 1, "y1": 1, "x2": 5, "y2": 5}
    label = {"id": "0", "category": "car", "attributes": {"crowd": False}, "box2d": box}
    return listed(folder / "bdd", "labels/det_20/det_train.json", [{"name": "a.png", "labels": [label]}], rng)


def listed(root: Path, file: str, content: Any, rng: random.Random) -> str:
    """A JSON in which a value is another than it should be, or whose bytes are spoilt."""
    pictures(root / "train")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    if rng.random() < 0.7:
        replace_one(content, rng)
        data = json.dumps(content).encode()
    else:
        data = damage(json.dumps(content).encode(), rng)
    (root / file).write_bytes(data)
    return outcome(lambda: read_all(root), root.name)


def replace_one(place: Any, rng: random.Random) -> None:
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if rng.random() < 0.3 or not isinstance(place[key], (dict, list)) or not place[key]:
            place[key] = rng.choice(ODD)
            return
        place = place[key]


def auto(rng: random.Random, folder: Path) -> str:
    """Classes taken from the labels, whatever stands there."""
    root = folder / "kitti"
    pictures(root / "training/image_2")
    (root / "training/label_2").mkdir(parents=True, exist_ok=True)
    for frame in "ab":
        line = f"{rng.choice(NAMES)} 0 0 0 1 1 5 5 1 1 1 1 1 1 0\n".encode(errors="surrogateescape")
        path = root / f"training/label_2/{frame}.txt"
        path.write_bytes(damage(line, rng) if rng.random() < 0.2 else line)
    (root / "ImageSets").mkdir(exist_ok=True)
    (root / "ImageSets/train.txt").write_text("a\nb\n")
    return outcome(lambda: read_all(root), root.name)


DATA_SETS: dict[str, Callable[[random.Random, Path], str]] = {
    read.__name__: read for read in (yolo, coco, bdd100k, auto)
}
