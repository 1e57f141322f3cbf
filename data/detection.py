"""The frames of a split as samples, from any of the formats of data/formats."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np

from data.annotation import AUTO, Annotation, Box, ClassSet, DatasetError, Rle
from data.cache import GB, CacheSpec
from data.formats import open_source
from data.formats.kitti import CLASS_SETS
from data.images import read_image
from data.masks import PackedMasks, decode_all
from data.resize import fit, resize_masks
from data.settings import AugmentSettings, DataSettings
from system.names import check_name

log = logging.getLogger(__name__)
Masks = Literal["none", "annotations", "samples"]
TOLD = 5  # names in a message; the rest are counted
BACKGROUND = -2  # where -1 is a region and 0 the first class


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame: image uint8 [h, w, 3] RGB, boxes float32 [n, 4] xyxy pixels, labels int64 [n],
    ignore float32 [m, 4] (regions in which a prediction is neither right nor wrong), frame id; where masks are asked
    for, masks uint8 [n, h, w] of 0 and 1 beside the boxes.

    A cached image is read-only and may be reduced; `original` is then the (height, width) of its file, and the boxes
    are in pixels of the image as it is here.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    frame: str
    original: tuple[int, int] | None = None
    masks: np.ndarray | None = None

    @property
    def source(self) -> tuple[int, int]:
        """(height, width) of the image file."""
        return self.original or (self.image.shape[0], self.image.shape[1])


class DetectionDataset:
    """Frames of one split of the data at `root`. Annotations are read and checked when it is made, images when asked
    for. `classes` means what the format of the data says, and `auto` all that the labels of the split name. Objects
    called as in `ignore` are regions to ignore. `masks` says what has them: annotations, where the data has any, or
    samples too, for which every object must have one.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: str | Sequence[str] = AUTO,
        allow_missing: bool = False,
        cache: CacheSpec | None = None,
        ignore: Iterable[str] = (),
        masks: Masks = "none",
    ) -> None:
        self.source = open_source(root, masks=masks != "none")
        listed = self.source.frames(split)
        self.class_set = self.source.class_set(classes)
        self.frames = tuple(frame for frame in listed if self.source.has(frame))
        self.missing = tuple(frame for frame in listed if not self.source.has(frame))
        self._report_missing(split, allow_missing)
        starts, boxes, kinds, found = self._read_annotations()
        if classes == AUTO:
            self.class_set = self._all_found(self.class_set, ignore)
        self.class_set = self.class_set.ignoring(ignore)
        kept = self._keep_wanted(starts, boxes, kinds)
        self._masks = self._pack(list(compress(found, kept))) if masks == "samples" else None
        self.cache = cache.open([self.image_path(frame) for frame in self.frames]) if cache else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        start, stop = self._start[index], self._start[index + 1]
        boxes = self._boxes[start:stop]
        if self.cache is None:
            image = read_image(self.image_path(frame))
            source = size = (image.shape[0], image.shape[1])
        else:
            image, source = self.cache.read(self.image_path(frame))
            size = (image.shape[0], image.shape[1])
            boxes = fit(source, size, "stretch").apply(boxes)
        boxes, rows = clip(boxes, np.arange(start, stop), size)
        labels = self._labels[rows]
        objects = labels >= 0
        masks = None if self._masks is None else self._decode(self._masks, rows[objects], frame, source, size)
        return Sample(image, boxes[objects], labels[objects], boxes[~objects], frame, source, masks)

    def targets(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [n, 4] in pixels of the file, not clipped, and labels [n] of a frame, -1 of a region to ignore."""
        here = slice(self._start[index], self._start[index + 1])
        return self._boxes[here], self._labels[here]

    @property
    def masks_a_frame(self) -> float:
        """The mean; 0 where none were asked for."""
        return 0.0 if self._masks is None else float((self._labels >= 0).sum()) / len(self)

    def image_path(self, frame: str) -> Path:
        return self.source.image_path(frame)

    def annotations(self, frame: str, classes: ClassSet | None = None) -> list[Annotation]:
        """All that is annotated in a frame, of any class, as an evaluation of `classes` takes it (None: its own)."""
        return (classes or self.class_set).all_seen(self.source.annotations(frame))

    def _report_missing(self, split: str, allow_missing: bool) -> None:
        root, listed = self.source.root, len(self.frames) + len(self.missing)
        if self.missing:
            text = f"{root}: {len(self.missing)} of {listed} frames of split {split!r} lack their image or label file"
            text += f" (first: {', '.join(self.missing[:3])})"
            if not allow_missing:
                mend = "complete the data, take them out of the split's list, or train with data.allow_missing=true"
                raise DatasetError(f"{text}; {mend}")
            log.warning("%s; they are left out", text)
        if not self.frames:
            raise DatasetError(f"{root}: split {split!r} has no frames")

    def _read_annotations(self) -> tuple[list[int], list[Box], list[int], list[Rle | None]]:
        """Where each frame's begin, their boxes, for each its kind, which is the place of its (name, ignore) in
        `found`, and their masks."""
        starts, boxes, kinds, masks = [0], list[Box](), list[int](), list[Rle | None]()
        kind_of: dict[tuple[str, bool], int] = {}
        for frame in self.frames:
            for number, annotation in enumerate(self.source.annotations(frame), 1):
                if fault := inverted(annotation):
                    raise DatasetError(f"{self.source.where(frame)}: object {number} {fault}")
                boxes.append(annotation.box)
                masks.append(annotation.mask)
                kinds.append(kind_of.setdefault((annotation.name, annotation.ignore), len(kind_of)))
            starts.append(len(boxes))
        counts = np.bincount(kinds, minlength=len(kind_of)).tolist() if kinds else []
        self.found = dict(zip(kind_of, counts, strict=True))
        return starts, boxes, kinds, masks

    def _all_found(self, declared: ClassSet, ignore: Iterable[str]) -> ClassSet:
        """The classes that objects have: those the data set declares in its order, then the others by name."""
        regions = ClassSet((), declared.ignored.union(ignore))
        found = {name for name, region in self.found if not region and regions.index(name) is None}
        names = [*(name for name in declared.names if name in found), *sorted(found - set(declared.names))]
        return self.source.class_set(names) if names else regions

    def _keep_wanted(self, starts: list[int], boxes: list[Box], kinds: list[int]) -> np.ndarray:
        """What counts, in flat arrays: thousands of small ones would be copied into every worker page by page.
        Returns for each annotation whether it does."""
        nowhere = (0.0, 0.0, 0.0, 0.0)
        targets = [self.class_set.target(Annotation(name, nowhere, ignore=region)) for name, region in self.found]
        labels = np.array([BACKGROUND if target is None else target for target in targets], np.int64)[kinds]
        kept = labels != BACKGROUND
        self._start = np.concatenate([[0], np.cumsum(kept)])[starts]
        self._boxes = np.array(boxes, np.float32).reshape(-1, 4)[kept]
        self._labels = labels[kept]
        return kept

    def _pack(self, masks: Sequence[Rle | None]) -> PackedMasks:
        """Those of objects; what is a region to ignore needs none."""
        for row, (mask, label) in enumerate(zip(masks, self._labels.tolist(), strict=True)):
            if mask is None and label >= 0:
                frame = self.frames[int(np.searchsorted(self._start, row, side="right")) - 1]
                lacking = f"{self.source.where(frame)}: an object ({self.class_set.names[label]}) has no mask"
                mend = "give it one, name it in data.ignore, or train a network of boxes"
                raise DatasetError(f"{lacking}, and this network learns masks; {mend}")
        return PackedMasks(masks)

    def _decode(
        self, masks: PackedMasks, rows: np.ndarray, frame: str, source: tuple[int, int], size: tuple[int, int]
    ) -> np.ndarray:
        """Masks [n, h, w] of an image of (height, width) `size`, made from a file of `source`."""
        wanted = [masks[row] for row in rows.tolist()]
        if wrong := [rle.size for rle in wanted if rle.size != source]:
            found = f"a mask of {wrong[0][1]} x {wrong[0][0]} pixels, the image has {source[1]} x {source[0]}"
            raise DatasetError(f"{self.source.where(frame)}: {found}; data.doctor lists such")
        decoded = decode_all(wanted, source)
        return decoded if size == source else resize_masks(decoded, fit(source, size, "stretch"))


def open_dataset(
    settings: DataSettings, split: str, training: bool, classes: Sequence[str] | None = None, masks: bool = False
) -> DetectionDataset:
    """The dataset as the settings want it; only frames that are read every epoch, those trained on, are cached.
    `classes` take the place of those in the settings, which may leave them to the data. `masks` are read for the
    networks that learn them: to train on, or to be held against what was found."""
    cache = None
    if training and settings.cache != "none":
        folder = Path(settings.cache_dir or open_source(settings.root).root / "cached_images")
        cache = CacheSpec(settings.cache, settings.cache_limit_gb * GB, settings.cache_max_side, folder)
    wanted = settings.classes if classes is None else classes
    use: Masks = "none" if not masks else "samples" if training else "annotations"
    dataset = DetectionDataset(settings.root, split, wanted, settings.allow_missing, cache, settings.ignore, use)
    if training:
        tell_names(dataset, f"split {split!r}", is_kitti_set=settings.classes in CLASS_SETS)
        labels_to_paste(settings.augment, dataset.class_set)
    return dataset


def tell_names(dataset: DetectionDataset, where: str, is_kitti_set: bool) -> None:
    """Warns of names in the labels that may not be what was meant, each kind once; raises DatasetError where no object
    is of a wanted class. Of KITTI's sets it is known that classes are left out, and that some are rare."""
    wanted, objects, elsewhere = dataset.class_set, Counter[str](), Counter[str]()
    for (name, region), count in dataset.found.items():
        spelling = wanted.spelling(name)
        if spelling != name:
            log.warning("%s: %s called %r; taken for %r", where, _objects(count), name, spelling)
        if spelling in wanted.names and not region:
            objects[spelling] += count
        elif spelling not in wanted.ignored and not region:
            elsewhere[name] += count
    if not objects:
        looked = f"those of {dataset.frames[0]} are looked for in {dataset.source.where(dataset.frames[0])}"
        mend = "set data.classes=auto, or name what you want of these" if elsewhere else looked
        lacking = f"{dataset.source.root}: {where} has no object of {_some(wanted.names)}"
        raise DatasetError(f"{lacking}; its labels hold {_counted(elsewhere)}; {mend}")
    if is_kitti_set:
        return
    if absent := [name for name in wanted.names if not objects[name]]:
        log.warning("%s: no object is a %s", where, _some(absent))
    if elsewhere:
        log.warning("%s: neither in data.classes nor in data.ignore, so background: %s", where, _counted(elsewhere))


def labels_to_paste(settings: AugmentSettings, classes: ClassSet) -> list[int]:
    """Of the classes whose objects copy-paste takes. Raises ValueError for a name that is none of the classes'."""
    what = "class in data.augment.copy_paste_classes"
    wanted = [check_name(what, classes.spelling(name), classes.names) for name in settings.copy_paste_classes]
    return [classes.names.index(name) for name in wanted or classes.names]


def inverted(annotation: Annotation) -> str | None:
    """What to say of an object whose box is inverted, after where it stands; None of a sound one."""
    x1, y1, x2, y2 = annotation.box
    if x1 <= x2 and y1 <= y2:
        return None
    return f"({annotation.name}) has x1 {x1} x2 {x2} y1 {y1} y2 {y2}, expected x1 <= x2 and y1 <= y2"


def _objects(count: int) -> str:
    return f"{count:,} object{'s are' if count != 1 else ' is'}"


def _counted(names: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count:,})" for name, count in names.most_common(TOLD)) or "nothing"
    return shown + (f" and {len(names) - TOLD} more names" if len(names) > TOLD else "")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:TOLD]) or "any class"
    return shown + (f" or {len(names) - TOLD} more" if len(names) > TOLD else "")


def clip(boxes: np.ndarray, labels: np.ndarray, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes [n, 4] inside an image of (height, width), and their labels [n]; without those of no area."""
    height, width = hw
    inside = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    kept = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    return inside[kept], labels[kept]
