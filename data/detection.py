"""A KITTI-layout folder as samples: ROOT/training/{image_2,label_2}, images .png or .jpg."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.cache import GB, CacheSpec
from data.formats.kitti import Label, class_set, read_labels
from data.images import read_image
from data.resize import fit
from data.settings import DataSettings

SPLITS = Path(__file__).parent / "splits"  # the Chen split: 3,712 frames to train, 3,769 to validate
SUFFIXES = (".png", ".jpg", ".jpeg")

log = logging.getLogger(__name__)


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame: image uint8 [h, w, 3] RGB, boxes float32 [n, 4] xyxy pixels, labels int64 [n],
    ignore float32 [m, 4] (regions in which a prediction is neither right nor wrong), frame id.

    A cached image is read-only and may be reduced; `original` is then the (height, width) of its file, and the boxes
    are in pixels of the image as it is here.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    frame: str
    original: tuple[int, int] | None = None

    @property
    def source(self) -> tuple[int, int]:
        """(height, width) of the image file."""
        return self.original or (self.image.shape[0], self.image.shape[1])


class KittiDataset:
    """Frames of one split. Labels are read and checked when it is made, images when asked for.

    `split` is the name of a list in ROOT/ImageSets, else `train` or `val` (the built-in Chen lists), or `all`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: str | Sequence[str] = "kitti8",
        allow_missing: bool = False,
        cache: CacheSpec | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_set = class_set(classes)
        images, labels = self.root / "training" / "image_2", self.root / "training" / "label_2"
        for folder in (images, labels):
            if not folder.is_dir():
                raise DatasetError(f"{folder}: no such folder; a KITTI dataset has ROOT/training/image_2 and label_2")
        self._images = {p.stem: p for s in reversed(SUFFIXES) for p in images.glob(f"*{s}")}
        self._label_folder = labels
        present = {path.stem for path in labels.glob("*.txt")} & self._images.keys()
        listed = self._listed(split)
        self.missing = tuple(frame for frame in listed if frame not in present)
        self.frames = tuple(frame for frame in listed if frame in present)
        self._report_missing(split, len(listed), allow_missing)
        self._read_labels()
        self.cache = cache.open([self.image_path(frame) for frame in self.frames]) if cache else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        start, stop = self._start[index], self._start[index + 1]
        boxes, labels = self._boxes[start:stop], self._labels[start:stop]
        if self.cache is None:
            image = read_image(self.image_path(frame))
            source = size = (image.shape[0], image.shape[1])
        else:
            image, source = self.cache.read(self.image_path(frame))
            size = (image.shape[0], image.shape[1])
            boxes = fit(source, size, "stretch").apply(boxes)
        boxes, labels = clip(boxes, labels, size)
        objects = labels >= 0
        return Sample(image, boxes[objects], labels[objects], boxes[~objects], frame, source)

    def image_path(self, frame: str) -> Path:
        return self._images[frame]

    def label_path(self, frame: str) -> Path:
        return self._label_folder / f"{frame}.txt"

    def _listed(self, split: str) -> list[str]:
        for path in (self.root / "ImageSets" / f"{split}.txt", SPLITS / f"{split}.txt"):
            if path.is_file():
                return list(dict.fromkeys(path.read_text(encoding="utf-8-sig").split()))
        if split == "all":
            return sorted(self._images.keys() | {path.stem for path in self._label_folder.glob("*.txt")})
        raise DatasetError(f"split {split!r}: expected train, val, all, or a list {self.root}/ImageSets/{split}.txt")

    def _report_missing(self, split: str, listed: int, allow_missing: bool) -> None:
        if self.missing:
            text = (
                f"{self.root}: {len(self.missing)} of {listed} frames of split {split!r} lack their image or label file"
            )
            text += f" (first: {', '.join(self.missing[:3])})"
            if not allow_missing:
                mend = f"complete the data, list what is there in ImageSets/{split}.txt, or set allow_missing"
                raise DatasetError(f"{text}; {mend}")
            log.warning("%s; they are left out", text)
        if not self.frames:
            raise DatasetError(f"{self.root}: split {split!r} has no frames")

    def _read_labels(self) -> None:
        """All labels in flat arrays: thousands of small ones would be copied into every worker page by page."""
        rows: list[Label] = []
        starts, labels = [0], []
        for frame in self.frames:
            for number, label in enumerate(read_labels(self.label_path(frame)), 1):
                x1, y1, x2, y2 = label.box
                if x2 < x1 or y2 < y1:
                    found = f"object {number} ({label.name}) has x1 {x1} x2 {x2} y1 {y1} y2 {y2}"
                    raise DatasetError(f"{self.label_path(frame)}: {found}, expected x1 <= x2 and y1 <= y2")
                index = self.class_set.index(label.name)
                if index is not None:
                    rows.append(label)
                    labels.append(index)
            starts.append(len(rows))
        self._start = np.array(starts, np.int64)
        self._boxes = np.array([label.box for label in rows], np.float32).reshape(-1, 4)
        self._labels = np.array(labels, np.int64)


def open_dataset(settings: DataSettings, split: str, training: bool) -> KittiDataset:
    """The dataset as the settings want it; only frames that are read every epoch, those trained on, are cached."""
    cache = None
    if training and settings.cache != "none":
        folder = Path(settings.cache_dir or Path(settings.root) / "cached_images")
        cache = CacheSpec(settings.cache, settings.cache_limit_gb * GB, settings.cache_max_side, folder)
    return KittiDataset(settings.root, split, settings.classes, settings.allow_missing, cache)


def clip(boxes: np.ndarray, labels: np.ndarray, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes [n, 4] inside an image of (height, width), and their labels [n]; without those of no area."""
    height, width = hw
    inside = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    kept = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    return inside[kept], labels[kept]
