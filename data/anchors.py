"""Anchors for a data set: k-means over box shapes with 1 - IoU as the distance (Redmon and Farhadi, YOLO9000, 2017).

python -m data.anchors ROOT --split train --size 448
python -m data.anchors LABEL_FOLDER --size 256x800 --resize letterbox
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data.annotation import AUTO, Annotation, ClassSet, DatasetError
from data.detection import DetectionDataset, clip
from data.formats.kitti import class_set, read_labels
from data.images import image_size
from data.resize import POLICIES, fit
from system.command import Parser, count, exit_status

# The anchors of YOLOv3, made on COCO for inputs of 416x416.
COCO = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
COCO_SIZE = 416
KITTI_SIZE = (375, 1242)  # of most KITTI images; assumed where there is only a label
MATCHED = 0.5  # an anchor that overlaps a box this much can be taught to find it

Annotated = tuple[Sequence[Annotation], tuple[int, int]]  # a frame: what is in it, and its (height, width)


def box_shapes(frames: Iterable[Annotated], classes: ClassSet, size: tuple[int, int], policy: str) -> np.ndarray:
    """Width, height [n, 2] of all objects at the network's (height, width)."""
    shapes = [np.empty((0, 2))]
    for items, source in frames:
        objects = [item.box for item in items if item.name in classes.names and not item.ignore]
        boxes = np.array(objects).reshape(-1, 4)
        boxes, _ = clip(boxes, np.zeros(len(boxes)), source)
        boxes = fit(source, size, policy).apply(boxes)
        shapes.append(boxes[:, 2:] - boxes[:, :2])
    return np.concatenate(shapes)


def shape_iou(shapes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """IoU [n, k] of shapes [n, 2] and anchors [k, 2] laid on one another with a common centre."""
    inter = np.minimum(shapes[:, :1], anchors[:, 0]) * np.minimum(shapes[:, 1:], anchors[:, 1])
    return inter / (shapes.prod(axis=1)[:, None] + anchors.prod(axis=1) - inter)


def find_anchors(shapes: np.ndarray, count: int = 9, restarts: int = 10, seed: int = 0) -> np.ndarray:
    """Anchors [count, 2] sorted by area: the best mean IoU of several k-means runs. Same shapes, same anchors."""
    if len(np.unique(shapes, axis=0)) < count:
        raise DatasetError(f"{len(shapes)} objects have fewer than {count} different shapes; add frames to the split")
    rng = np.random.default_rng(seed)
    runs = [_k_means(shapes, _spread(shapes, count, rng)) for _ in range(restarts)]
    best = max(runs, key=lambda anchors: fitness(shapes, anchors)[0])
    return best[np.argsort(best.prod(axis=1))]


def anchor_pairs(anchors: np.ndarray) -> tuple[tuple[float, float], ...]:
    """As they stand in a config: tenths of a pixel."""
    return tuple((float(width), float(height)) for width, height in anchors.round(1))


def fitness(shapes: np.ndarray, anchors: np.ndarray) -> tuple[float, float]:
    """Mean IoU of the shapes with their best anchor, and the share of shapes with one at IoU >= 0.5: the best possible
    recall of a detector that is taught by anchors which overlap."""
    best = shape_iou(shapes, anchors).max(axis=1)
    return float(best.mean()), float((best >= MATCHED).mean())


def _spread(shapes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: each start is drawn by its squared distance to the nearest one so far."""
    starts = shapes[rng.integers(len(shapes))][None]
    while len(starts) < count:
        distance = (1 - shape_iou(shapes, starts).max(axis=1)) ** 2
        starts = np.vstack([starts, shapes[rng.choice(len(shapes), p=distance / distance.sum())]])
    return starts


def _k_means(shapes: np.ndarray, anchors: np.ndarray, rounds: int = 300) -> np.ndarray:
    count, before = len(anchors), np.full(len(shapes), -1)
    for _ in range(rounds):
        overlap = shape_iou(shapes, anchors)
        nearest = overlap.argmax(axis=1)
        if (nearest == before).all():
            break
        before = nearest
        members = np.bincount(nearest, minlength=count)
        sums = np.stack([np.bincount(nearest, shapes[:, axis], count) for axis in (0, 1)], axis=1)
        anchors = sums / np.maximum(members, 1)[:, None]
        for lost in np.flatnonzero(members == 0):  # an anchor nobody chose goes to the worst served shape
            worst = overlap.max(axis=1).argmin()
            anchors[lost], overlap[worst] = shapes[worst], 1
    return anchors


def parse_size(text: str) -> tuple[int, int]:
    """`448` or `256x800` (height x width) -> (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 448, or 256x800 for height x width")
    return int(sides[0]), int(sides[-1])


def annotated_frames(root: Path, split: str, classes: str) -> tuple[ClassSet, Iterator[Annotated]]:
    """The classes, and the frames of a split of a data set, or of a folder that holds KITTI label files alone."""
    files = sorted(root.glob("*.txt"))
    if files and not any(path.is_dir() for path in root.iterdir()):
        return _class_set_of(files, classes), ((read_labels(path), KITTI_SIZE) for path in files)
    dataset = DetectionDataset(root, split, classes, allow_missing=True)
    frames = ((dataset.annotations(frame), image_size(dataset.image_path(frame))) for frame in dataset.frames)
    return dataset.class_set, frames


def _class_set_of(files: Sequence[Path], classes: str) -> ClassSet:
    """`auto`: all that the label files name."""
    if classes != AUTO:
        return class_set(classes)
    return class_set(sorted({label.name for path in files for label in read_labels(path) if not label.ignore}))


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m data.anchors", description="Find anchors for a data set.")
    parser.add_argument("root", type=Path, help="data set in any format, or a folder of KITTI label files")
    parser.add_argument("--split", default="train", help="train, val, all, or another the data set has")
    parser.add_argument("--size", type=parse_size, default=(448, 448), help="network input: 448, or 256x800 (HxW)")
    parser.add_argument("--resize", choices=POLICIES, default="stretch")
    parser.add_argument("--classes", default=AUTO, help="auto (all there are), kitti8, kitti3, or names with commas")
    parser.add_argument("--count", type=count, default=9, help="how many anchors")
    options = parser.parse_args(arguments)
    return exit_status(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    classes, frames = annotated_frames(options.root, options.split, options.classes)
    shapes = box_shapes(frames, classes, options.size, options.resize)
    anchors = find_anchors(shapes, options.count).round(1)
    height, width = options.size
    classic = np.array(COCO) * (height * width) ** 0.5 / COCO_SIZE
    print(f"{len(shapes):,} objects at {height}x{width} (height x width), {options.resize}")
    for name, candidates in (("YOLOv3's COCO anchors, scaled", classic), (f"these {options.count} anchors", anchors)):
        mean, recall = fitness(shapes, candidates)
        print(f"{name:30} mean IoU {mean:.3f}   best possible recall (IoU >= {MATCHED}) {recall:.3f}")
    print("anchors: [" + ", ".join(f"[{w:g}, {h:g}]" for w, h in anchors) + "]")


if __name__ == "__main__":
    sys.exit(main())
