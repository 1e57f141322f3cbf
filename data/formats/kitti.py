"""The KITTI object label and result format: one object a line, 15 fields, results with a 16th (the score).

Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57 [0.93]
name truncation occlusion alpha   x1 y1 x2 y2   height width length   x y z   rotation_y  score
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
DONT_CARE = "DontCare"

# The devkit's pairs: where only one of the two is trained or evaluated, the other is neither right nor wrong.
NEIGHBOURS = {"Car": "Van", "Van": "Car", "Pedestrian": "Person_sitting", "Person_sitting": "Pedestrian"}
CLASS_SETS = {"kitti8": CLASSES, "kitti3": ("Car", "Pedestrian", "Cyclist")}

FIELDS = (
    *("class", "truncation", "occlusion", "alpha", "x1", "y1", "x2", "y2"),
    *("height", "width", "length", "x", "y", "z", "rotation_y", "score"),
)
_CANONICAL = {name.lower(): name for name in (*CLASSES, DONT_CARE)}

Difficulty = Literal["easy", "moderate", "hard"]
# (name, smallest box height in pixels (exclusive), largest occlusion, largest truncation): the devkit's limits.
_LIMITS: tuple[tuple[Difficulty, float, int, float], ...] = (
    ("easy", 40, 0, 0.15),
    ("moderate", 25, 1, 0.30),
    ("hard", 25, 2, 0.50),
)


class LabelError(ValueError):
    """A label or result line that cannot be read; the message: file:line, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class Label:
    """One object. `box` is x1, y1, x2, y2 in pixels, float64 straight from the text."""

    name: str
    box: tuple[float, float, float, float]
    truncation: float = -1.0
    occlusion: int = -1
    alpha: float = -10.0
    dimensions: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    location: tuple[float, float, float] = (-1000.0, -1000.0, -1000.0)
    rotation_y: float = -10.0
    score: float | None = None


def parse_label(line: str, where: str) -> Label:
    """One line of a label (15 fields) or result (16 fields) file; `where` (file:line) opens the message of an error."""
    fields = line.split()
    if len(fields) not in (15, 16):
        raise LabelError(f"{where}: found {len(fields)} fields, expected 15 (label) or 16 (result with a score)")
    name = _CANONICAL.get(fields[0].lower())
    if name is None:
        known = ", ".join((*CLASSES, DONT_CARE))
        raise LabelError(f"{where}: unknown class {_shown(fields[0])}, expected one of {known}")
    try:
        numbers = [float(field) for field in fields[1:]]
    except ValueError:
        raise _bad_number(fields, where) from None
    if not all(map(math.isfinite, numbers)) or "_" in "".join(fields[1:]):  # float() reads 1_0 as 10
        raise _bad_number(fields, where)
    if numbers[1] != int(numbers[1]):
        raise LabelError(f"{where}: occlusion is {_shown(fields[2])}, expected a whole number (-1, 0, 1, 2 or 3)")
    truncation, occlusion, alpha, x1, y1, x2, y2, height, width, length, x, y, z, rotation_y = numbers[:14]
    return Label(
        name,
        (x1, y1, x2, y2),
        truncation,
        int(occlusion),
        alpha,
        (height, width, length),
        (x, y, z),
        rotation_y,
        numbers[14] if len(numbers) == 15 else None,
    )


def read_labels(path: str | os.PathLike[str]) -> list[Label]:
    """The objects of a label or result file, in file order. Blank lines are skipped; an empty file has none."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:  # -sig: some editors put a byte order mark first
        return [parse_label(line, f"{path}:{number}") for number, line in enumerate(file, 1) if not line.isspace()]


def format_label(label: Label) -> str:
    """The line of `label` without its newline: reading it back gives an equal Label.

    Two decimals as in KITTI's own files where they hold the number exactly, else as many as it takes;
    what is unknown is written as KITTI does it: -1, -10, -1000 without decimals.
    """
    parts = [
        label.name,
        "-1" if label.truncation == -1 else _number(label.truncation),
        str(label.occlusion),
        "-10" if label.alpha == -10 else _number(label.alpha),
        *map(_number, label.box),
        *(("-1",) * 3 if label.dimensions == (-1, -1, -1) else map(_number, label.dimensions)),
        *(("-1000",) * 3 if label.location == (-1000, -1000, -1000) else map(_number, label.location)),
        "-10" if label.rotation_y == -10 else _number(label.rotation_y),
    ]
    if label.score is not None:
        parts.append(repr(float(label.score)))
    return " ".join(parts)


def write_labels(path: str | os.PathLike[str], labels: Iterable[Label]) -> None:
    """Write a label or result file; the file appears whole or not at all. No labels make an empty file."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text("".join(format_label(label) + "\n" for label in labels), encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def difficulty(label: Label) -> Difficulty | None:
    """The easiest of KITTI's difficulties whose limits the object meets; None where even `hard` does not count it."""
    if label.name == DONT_CARE:
        return None
    height = label.box[3] - label.box[1]
    for name, min_height, max_occlusion, max_truncation in _LIMITS:
        if height > min_height and label.occlusion <= max_occlusion and label.truncation <= max_truncation:
            return name
    return None


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


def class_set(spec: str | Sequence[str]) -> ClassSet:
    """`kitti8`, `kitti3`, or class names (a list, or one text with commas) matched without case.

    DontCare is always ignored; so is the neighbour (Van of Car, Person_sitting of Pedestrian, and the other way round)
    of a class in the set that is not in it itself. Every other class left out is background.
    """
    if isinstance(spec, str):
        spec = CLASS_SETS.get(spec.strip().lower()) or [part.strip() for part in re.split(r"[,\s]+", spec) if part]
    names = []
    for given in spec:
        name = _CANONICAL.get(given.lower())
        if name is None or name == DONT_CARE:
            sets = " or ".join(CLASS_SETS)
            raise ValueError(f"classes: {given!r} is not a KITTI class; use {sets}, or a list of {', '.join(CLASSES)}")
        names.append(name)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"classes: {', '.join(names) or 'nothing'} given; name one or more classes, each of them once")
    neighbours = {NEIGHBOURS[name] for name in names if name in NEIGHBOURS} - set(names)
    return ClassSet(tuple(names), frozenset({DONT_CARE, *neighbours}))


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return text if float(text) == value else repr(float(value))


def _shown(field: str) -> str:
    return ascii(field if len(field) <= 40 else field[:37] + "...")


def _bad_number(fields: list[str], where: str) -> LabelError:
    """The error for the first field that is not a plain finite number."""
    name, field = next(pair for pair in zip(FIELDS[1:], fields[1:], strict=False) if not _is_number(pair[1]))
    return LabelError(f"{where}: {name} is {_shown(field)}, expected a finite number")


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field)) and "_" not in field
    except ValueError:
        return False
