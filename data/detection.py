"""The frames of a split as samples, from any of the formats of data/formats."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.annotation import Annotation, Box, DatasetError
from data.cache import GB, CacheSpec
from data.formats import open_source
from data.images import read_image
from data.resize import fit
from data.settings import DataSettings

log = logging.getLogger(__name__)


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


class DetectionDataset:
    """Frames of one split of the data at `root`. Annotations are read and checked when it is made, images when asked
    for. `classes` means what the format of the data says.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: str | Sequence[str] = "kitti8",
        allow_missing: bool = False,
        cache: CacheSpec | None = None,
    ) -> None:
        self.source = open_source(root)
        self.class_set = self.source.class_set(classes)
        listed = self.source.frames(split)
        self.frames = tuple(frame for frame in listed if self.source.has(frame))
        self.missing = tuple(frame for frame in listed if not self.source.has(frame))
        self._report_missing(split, allow_missing)
        self._read_annotations()
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
        return self.source.image_path(frame)

    def annotations(self, frame: str) -> Sequence[Annotation]:
        """All that is annotated in a frame, whatever its class, as it stands in the file."""
        return self.source.annotations(frame)

    def _report_missing(self, split: str, allow_missing: bool) -> None:
        root, listed = self.source.root, len(self.frames) + len(self.missing)
        if self.missing:
            text = f"{root}: {len(self.missing)} of {listed} frames of split {split!r} lack their image or label file"
            text += f" (first: {', '.join(self.missing[:3])})"
            if not allow_missing:
                mend = f"complete the data, list what is there in ImageSets/{split}.txt, or set allow_missing"
                raise DatasetError(f"{text}; {mend}")
            log.warning("%s; they are left out", text)
        if not self.frames:
            raise DatasetError(f"{root}: split {split!r} has no frames")

    def _read_annotations(self) -> None:
        """Those that count, in flat arrays: thousands of small ones would be copied into every worker page by page."""
        starts, boxes, targets = [0], list[Box](), list[int]()
        for frame in self.frames:
            for number, annotation in enumerate(self.annotations(frame), 1):
                x1, y1, x2, y2 = annotation.box
                if x2 < x1 or y2 < y1:
                    found = f"object {number} ({annotation.name}) has x1 {x1} x2 {x2} y1 {y1} y2 {y2}"
                    raise DatasetError(f"{self.source.where(frame)}: {found}, expected x1 <= x2 and y1 <= y2")
                target = self.class_set.target(annotation)
                if target is not None:
                    boxes.append(annotation.box)
                    targets.append(target)
            starts.append(len(boxes))
        self._start = np.array(starts, np.int64)
        self._boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self._labels = np.array(targets, np.int64)


def open_dataset(settings: DataSettings, split: str, training: bool) -> DetectionDataset:
    """The dataset as the settings want it; only frames that are read every epoch, those trained on, are cached."""
    cache = None
    if training and settings.cache != "none":
        folder = Path(settings.cache_dir or Path(settings.root) / "cached_images")
        cache = CacheSpec(settings.cache, settings.cache_limit_gb * GB, settings.cache_max_side, folder)
    return DetectionDataset(settings.root, split, settings.classes, settings.allow_missing, cache)


def clip(boxes: np.ndarray, labels: np.ndarray, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes [n, 4] inside an image of (height, width), and their labels [n]; without those of no area."""
    height, width = hw
    inside = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    kept = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    return inside[kept], labels[kept]
