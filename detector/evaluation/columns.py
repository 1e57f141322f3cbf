"""Objects of many frames as columns: what the evaluators compute on."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.annotation import Annotation, Rle


class ResultError(ValueError):
    """Results that do not fit the labels; the message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """n objects and regions to ignore of all frames: frame after frame, in file order within a frame."""

    frames: tuple[str, ...]
    names: tuple[str, ...]  # of the classes
    frame: NDArray[np.intp]  # [n] index into frames, ascending
    name: NDArray[np.intp]  # [n] index into names
    boxes: NDArray[np.float64]  # [n, 4] x1 y1 x2 y2
    truncation: NDArray[np.float64]  # [n]
    occlusion: NDArray[np.float64]  # [n]
    scores: NDArray[np.float64]  # [n], nan for objects without a score
    ignore: NDArray[np.bool_]  # [n] whether it is a region, in which a detection is neither right nor wrong
    area: NDArray[np.float64]  # [n], nan where only the box tells it
    masks: NDArray[np.object_] | None = None  # [n] an Rle, or None for one without; None: nothing has a mask

    def __len__(self) -> int:
        return len(self.frame)

    def named(self, *names: str) -> NDArray[np.bool_]:
        """[n] whether this is an object of one of these classes."""
        return self._called(names) & ~self.ignore

    def regions(self, name: str, classes: Sequence[str]) -> NDArray[np.bool_]:
        """[n] whether this is a region to ignore for a class: one of that class, or of none of `classes`."""
        others = [other for other in classes if other != name]
        return self.ignore & ~self._called(others)

    def of(self, classes: Sequence[str]) -> Columns:
        """The objects of these classes, with `classes` as their names."""
        place = np.array([classes.index(name) if name in classes else -1 for name in self.names], np.intp)
        objects = self.select(self.named(*classes))
        return replace(objects, names=tuple(classes), name=place[objects.name])

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Columns:
        """The rows of a mask, or of ascending indices."""
        return Columns(
            self.frames,
            self.names,
            self.frame[rows],
            self.name[rows],
            self.boxes[rows],
            self.truncation[rows],
            self.occlusion[rows],
            self.scores[rows],
            self.ignore[rows],
            self.area[rows],
            None if self.masks is None else self.masks[rows],
        )

    def _called(self, names: Sequence[str]) -> NDArray[np.bool_]:
        return np.array([name in names for name in self.names], np.bool_)[self.name]


def from_labels(labels: Mapping[str, Sequence[Annotation]], frames: Sequence[str], scored: bool) -> Columns:
    """Columns of annotations by frame. One that `labels` lacks has no objects; frames not listed are left out."""
    return join(frames, (labels.get(frame, ()) for frame in frames), scored)


def join(frames: Sequence[str], annotations: Iterable[Sequence[Annotation]], scored: bool) -> Columns:
    """Columns of the annotations of each frame. They are taken one frame at a time: all of a large set would not fit.

    Raises ResultError for a score that is missing, though `scored`, or not finite.
    """
    codes: dict[str, int] = {}
    counts, names, numbers = list[int](), list[int](), array("d")
    masks: list[Rle | None] = []
    for frame, items in zip(frames, annotations, strict=True):
        counts.append(len(items))
        for item in items:
            if scored and (item.score is None or not math.isfinite(item.score)):
                raise ResultError(f"frame {frame}: the score of a detection is {item.score}, expected a finite number")
            names.append(codes.setdefault(item.name, len(codes)))
            masks.append(item.mask)
            score = math.nan if item.score is None else item.score
            area = math.nan if item.area is None else item.area
            numbers.extend((*item.box, item.truncation, item.occlusion, score, item.ignore, area))
    values = np.array(numbers).reshape(-1, 9).T
    return Columns(
        frames=tuple(frames),
        names=tuple(codes),
        frame=np.repeat(np.arange(len(counts)), counts),
        name=np.array(names, np.intp),
        boxes=values[:4].T,
        truncation=values[4],
        occlusion=values[5],
        scores=values[6],
        ignore=values[7] > 0,
        area=values[8],
        masks=np.array(masks, np.object_) if any(masks) else None,
    )
