"""What is said of a frame, whatever the format: its objects and the regions that count for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, float64 as in the file


NAME_LENGTH = 64
AUTO = "auto"  # as a choice of classes: all that the labels name


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a data set. `file` is relative to its root where it lies inside it; `line` counts from 1."""

    kind: str
    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class Rle:
    """The pixels of one object: `size` (height, width) of its picture and its runs, as data/masks.py makes them."""

    size: tuple[int, int]
    counts: bytes


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object or detection; -1 is an unknown truncation or occlusion, and None the score of what nobody detected.

    `ignore` makes it a region in which a prediction is neither right nor wrong. `area` in pixels is None where the
    file does not say it: the box's. `mask` is read where it is asked for.
    """

    name: str
    box: Box
    truncation: float = -1.0
    occlusion: int = -1
    score: float | None = field(default=None, kw_only=True)
    ignore: bool = field(default=False, kw_only=True)
    area: float | None = field(default=None, kw_only=True)
    mask: Rle | None = field(default=None, kw_only=True)


def check_class_names(names: Sequence[object], where: str) -> tuple[str, ...]:
    """The names as they are. They become parts of file names and lines of text, and a file from elsewhere may hold
    anything: each must be printable, of at most 64 characters, no path, and there once. `where` opens the message."""
    if not isinstance(names, (list, tuple)):
        raise DatasetError(f"{where}: {type(names).__name__} where a list of class names belongs")
    checked = []
    for name in names:
        plain = isinstance(name, str) and 0 < len(name) <= NAME_LENGTH and name.isprintable() and name == name.strip()
        if not plain or "/" in str(name) or "\\" in str(name) or str(name).strip(".") == "":
            expected = f"expected up to {NAME_LENGTH} printable characters without / and \\"
            raise DatasetError(f"{where}: {str(name)[:40]!a} cannot be a class name; {expected}")
        checked.append(str(name))
    if not checked or len(set(checked)) < len(checked):
        raise DatasetError(f"{where}: {'a class name stands there twice' if checked else 'no class names'}")
    return tuple(checked)


@dataclass(frozen=True, slots=True)
class ClassSet:
    """The classes to detect, in order, and the names whose objects are regions to ignore.

    `neighbours` are those of `ignored` that are regions while training only: KITTI's AP has its own rule for them.
    A name that differs from one of these in case only means that one.
    """

    names: tuple[str, ...]
    ignored: frozenset[str]
    neighbours: frozenset[str] = frozenset()

    def ignoring(self, more: Iterable[str]) -> ClassSet:
        """The same classes, with more names to ignore."""
        names = frozenset(more)
        if both := names & set(self.names):
            raise DatasetError(f"{min(both)!a} is both in data.classes and in data.ignore; take it out of one")
        return replace(self, ignored=self.ignored | names, neighbours=self.neighbours - names)

    def spelling(self, name: str) -> str:
        """The name of this set that is meant by `name`, which is returned as it is where none is."""
        if name in self.names or name in self.ignored:
            return name
        folded = name.casefold()
        return next((own for own in (*self.names, *self.ignored) if own.casefold() == folded), name)

    def index(self, name: str) -> int | None:
        """Position of a class in `names`; -1 for a region to ignore; None for background."""
        name = self.spelling(name)
        if name in self.names:
            return self.names.index(name)
        return -1 if name in self.ignored else None

    def target(self, annotation: Annotation) -> int | None:
        """As `index`, of an annotation: one that says so itself is a region, if its name is one of the set's."""
        index = self.index(annotation.name)
        return -1 if annotation.ignore and index is not None else index

    def all_seen(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Those that `seen` leaves."""
        return [seen for annotation in annotations if (seen := self.seen(annotation)) is not None]

    def seen(self, annotation: Annotation) -> Annotation | None:
        """The annotation as an evaluation of these classes takes it; None: a crowd of what nobody looks for."""
        name = self.spelling(annotation.name)
        if annotation.ignore and name not in self.names and name not in self.ignored:
            return None
        ignore = annotation.ignore or (name in self.ignored and name not in self.neighbours)
        if name == annotation.name and ignore == annotation.ignore:
            return annotation
        return replace(annotation, name=name, ignore=ignore)
