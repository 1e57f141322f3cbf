"""What is said of a frame, whatever the format: its objects and the regions that count for nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, float64 as in the file


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object or detection; -1 is an unknown truncation or occlusion, and None the score of what nobody detected.

    `ignore` makes it a region in which a prediction is neither right nor wrong.
    """

    name: str
    box: Box
    truncation: float = -1.0
    occlusion: int = -1
    score: float | None = field(default=None, kw_only=True)
    ignore: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class ClassSet:
    """The classes to detect, in order, and the names whose objects are regions to ignore."""

    names: tuple[str, ...]
    ignored: frozenset[str]

    def index(self, name: str) -> int | None:
        """Position of a class in `names`; -1 for a region to ignore; None for background."""
        if name in self.names:
            return self.names.index(name)
        return -1 if name in self.ignored else None

    def target(self, annotation: Annotation) -> int | None:
        """As `index`, of an annotation: one that says so itself is a region, if its name is one of the set's."""
        index = self.index(annotation.name)
        return -1 if annotation.ignore and index is not None else index
