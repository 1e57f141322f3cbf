"""Pictures of what training sees: augmented frames with their boxes and masks and, hatched, the regions to ignore.

python -m data.overlays ROOT --split train --out DIR --count 20 [--size 448] [--masks] [--mosaic 1] [--copy-paste 1]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from data.anchors import parse_size
from data.annotation import AUTO
from data.batches import Batch, BatchSampler, make_loader
from data.detection import DetectionDataset, Masks
from data.effects import check
from data.resize import POLICIES
from data.settings import AugmentSettings
from system.command import Parser, count, exit_status, fraction, names

COLOURS = (
    *((255, 200, 0), (255, 120, 0), (200, 60, 0), (0, 220, 60)),
    *((0, 160, 140), (0, 160, 255), (170, 90, 255), (255, 80, 200)),
)
GREY = (210, 210, 210)


def draw(batch: Batch, number: int, classes: tuple[str, ...]) -> np.ndarray:
    """Picture `number` of the batch, uint8 [H, W, 3] RGB, twice its size, with its targets on it."""
    zoom, targets = 2, batch.targets
    image = batch.images[number].permute(1, 2, 0).numpy()
    canvas = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    for box in (targets.ignore[targets.ignore_image == number] * zoom).round().int().tolist():
        _hatch(canvas, box)
    mine = targets.image == number
    if targets.masks is not None:
        for mask, label in zip(targets.masks[mine].numpy(), targets.labels[mine].tolist(), strict=True):
            seen = cv2.resize(mask, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST) > 0
            canvas[seen] = canvas[seen] // 2 + np.array(COLOURS[label % len(COLOURS)], np.uint8) // 2
    boxes = (targets.boxes[mine] * zoom).round().int().tolist()
    for (x1, y1, x2, y2), label in zip(boxes, targets.labels[mine].tolist(), strict=True):
        colour = COLOURS[label % len(COLOURS)]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2)
        cv2.putText(canvas, classes[label], (x1, y1 - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return canvas


def _hatch(canvas: np.ndarray, box: list[int]) -> None:
    x1, y1, x2, y2 = box
    part = canvas[y1:y2, x1:x2]
    for start in range(-part.shape[0], part.shape[1], 10):
        cv2.line(part, (start, part.shape[0]), (start + part.shape[0], 0), GREY, 1)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), GREY, 1)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m data.overlays", description="Save pictures of augmented frames.")
    parser.add_argument("root", type=Path, help="data set")
    parser.add_argument("--split", default="train", help="train, val, all, or another the data set has")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--count", type=count, default=20)
    parser.add_argument("--size", type=parse_size, default=(448, 448), help="network input: 448, or 256x800 (HxW)")
    parser.add_argument("--resize", choices=POLICIES, default="stretch")
    parser.add_argument("--classes", default=AUTO, help="auto (all there are), kitti8, kitti3, or names with commas")
    parser.add_argument("--masks", action="store_true", help="the masks too; every object must have one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mosaic", type=fraction, default=0.0, help="probability")
    parser.add_argument("--mixup", type=fraction, default=0.0, help="probability")
    parser.add_argument("--copy-paste", type=fraction, default=0.0, help="probability")
    parser.add_argument("--albumentations", type=effects, default=(), metavar="NAME[,NAME...]", help="its transforms")
    options = parser.parse_args(arguments)
    return exit_status(lambda: _run(options))


def effects(text: str) -> tuple[str, ...]:
    """An argument that lists transforms of albumentations."""
    wanted = names(text)
    try:
        check(wanted)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return wanted


def _run(options: argparse.Namespace) -> None:
    masks: Masks = "samples" if options.masks else "none"
    dataset = DetectionDataset(options.root, options.split, options.classes, allow_missing=True, masks=masks)
    settings = AugmentSettings(
        mosaic=options.mosaic,
        mixup=options.mixup,
        copy_paste=options.copy_paste,
        albumentations=options.albumentations,
    )
    sampler = BatchSampler(len(dataset), 1, options.size, seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    loader = make_loader(dataset, sampler, policy=options.resize, augment=settings)
    for number, batch in zip(range(options.count), loader, strict=False):
        path = options.out / f"{number:03d}_{batch.ids[0].replace('/', '_')}.png"
        picture = cv2.cvtColor(draw(batch, 0, dataset.class_set.names), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(path), picture):
            raise OSError(f"{path}: the picture could not be written; is the disk full or the folder read-only?")
    print(f"{min(options.count, len(dataset))} pictures in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
