"""KITTI's files: labels and results, one object a line of 15 fields, with a 16th (the score) in results; its folders.

Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57 [0.93]
name truncation occlusion alpha   x1 y1 x2 y2   height width length   x y z   rotation_y  score

KITTI's own class names are read without case. Any other name will do; a blank in it is written %20.

ROOT/training/image_2/000000.png, ROOT/training/label_2/000000.txt, ROOT/ImageSets/train.txt, ROOT/testing/image_2
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from data.annotation import AUTO, Annotation, ClassSet, DatasetError, check_class_names
from system import command
from system.files import write_text

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
DONT_CARE = "DontCare"

# The devkit's pairs: where the first is evaluated, taking the second is neither right nor wrong.
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}
CLASS_SETS = {"kitti8": CLASSES, "kitti3": ("Car", "Pedestrian", "Cyclist")}

FIELDS = (
    *("class", "truncation", "occlusion", "alpha", "x1", "y1", "x2", "y2"),
    *("height", "width", "length", "x", "y", "z", "rotation_y", "score"),
)
LARGEST = 1e9  # nothing that is measured; float32 and the report's axes hold it
_CANONICAL = {name.lower(): name for name in (*CLASSES, DONT_CARE)}
_BLANK = re.compile(r"[\s%]")  # cannot stand in a field; written as in an address: traffic%20light

IMAGES, LABELS, TEST_IMAGES = Path("training/image_2"), Path("training/label_2"), Path("testing/image_2")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")  # of two images for one frame, the one whose suffix comes first is taken
LISTS = Path("ImageSets")
WANTED = f"a KITTI dataset has ROOT/{IMAGES} and {LABELS.name}"  # for messages
SPLITS = Path(__file__).parents[1] / "splits"  # the Chen split: 3,712 frames to train, 3,769 to validate


class LabelError(ValueError):
    """A label or result line that cannot be read; the message: file:line, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class Label(Annotation):
    """One line: an Annotation with the 3D fields. DontCare is a region to ignore by its name alone."""

    alpha: float = -10.0
    dimensions: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    location: tuple[float, float, float] = (-1000.0, -1000.0, -1000.0)
    rotation_y: float = -10.0

    def __post_init__(self) -> None:
        if self.name == DONT_CARE:
            object.__setattr__(self, "ignore", True)


def parse_label(line: str, where: str) -> Label:
    """One line of a label (15 fields) or result (16 fields) file; `where` (file:line) opens the message of an error."""
    fields = line.split()
    if len(fields) not in (15, 16):
        raise LabelError(f"{where}: found {len(fields)} fields, expected 15 (label) or 16 (result with a score)")
    name = _CANONICAL.get(fields[0].lower())
    if name is None:
        name = _own_name(fields[0])
        if name is None:
            expected = "expected up to 64 printable characters without / and \\"
            raise LabelError(f"{where}: {_shown(fields[0])} cannot be a class name; {expected}")
    try:
        numbers = list(map(float, fields[1:]))
    except ValueError:
        raise _bad_number(fields, where) from None
    if not all(-LARGEST <= number <= LARGEST for number in numbers) or line.count("_") != fields[0].count(
        "_"
    ):  # float() reads 1_0 as 10
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
        score=numbers[14] if len(numbers) == 15 else None,
    )


def read_labels(path: str | os.PathLike[str], scored: bool = False) -> list[Label]:
    """The objects of a label or result file, in file order. Blank lines are skipped; an empty file has none.

    `scored` asks for a score in every line, as results have it.
    """
    labels = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:  # -sig: some editors put a byte order mark first
        for number, line in enumerate(file, 1):
            if not line.isspace():
                labels.append(parse_label(line, f"{path}:{number}"))
                if scored and labels[-1].score is None:
                    expected = "expected a 16th field with the score of the detection"
                    raise LabelError(f"{path}:{number}: found no score, {expected}")
    return labels


def format_label(label: Label) -> str:
    """The line of `label` without its newline: reading it back gives an equal Label.

    Two decimals as in KITTI's own files where they hold the number exactly, else as many as it takes;
    what is unknown is written as KITTI does it: -1, -10, -1000 without decimals.
    """
    parts = [
        _BLANK.sub(lambda found: quote(found[0], safe=""), label.name),
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
    write_text(Path(path), "".join(format_label(label) + "\n" for label in labels))


def class_set(spec: str | Sequence[str]) -> ClassSet:
    """`kitti8`, `kitti3`, or class names (a list, or one text with commas); KITTI's own are matched without case.
    `auto` is all of KITTI's.
    """
    return with_neighbours([_CANONICAL.get(name.lower(), name) for name in names_in(spec, CLASSES)])


def names_in(spec: str | Sequence[str], everything: Sequence[str]) -> tuple[str, ...]:
    """The names that `data.classes` gives: a set of KITTI's, a list, a text with commas, or `auto`: everything."""
    if not isinstance(spec, str):
        return tuple(spec)
    text = spec.strip().lower()
    if re.fullmatch(r"kitti\d+", text) and text not in CLASS_SETS:
        raise ValueError(f"classes: there is no class set {text}; there are {' and '.join(CLASS_SETS)}")
    return tuple(everything) if text == AUTO else CLASS_SETS.get(text) or command.names(spec)


def with_neighbours(names: Sequence[str]) -> ClassSet:
    """These classes by KITTI's rules.

    DontCare is always ignored; so is the neighbour (Van of Car, Person_sitting of Pedestrian, and the other way round)
    of a class in the set that is not in it itself. Every other class left out is background.
    """
    names = check_class_names(names, "classes")
    if DONT_CARE in names:
        raise ValueError(f"classes: {DONT_CARE} marks regions to ignore and cannot be a class; leave it out")
    pairs = [*NEIGHBOURS.items(), *((second, first) for first, second in NEIGHBOURS.items())]
    neighbours = frozenset(neighbour for name, neighbour in pairs if name in names and neighbour not in names)
    return ClassSet(names, neighbours | {DONT_CARE}, neighbours)


class KittiSource:
    """The data set at ROOT. A split is a list in ROOT/ImageSets, else `train` or `val` (the built-in Chen lists), or
    `all`."""

    kind = "kitti"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._images = image_files(self.root / IMAGES)
        self._labelled = {path.stem for path in (self.root / LABELS).glob("*.txt")}

    def splits(self) -> tuple[str, ...]:
        """Its own lists; without any, the built-in ones if all their frames are here; or else `all`."""
        complete = self._images.keys() & self._labelled
        own = [path.stem for path in sorted((self.root / LISTS).glob("*.txt"))]
        own = [split for split in own if split != "test" or not complete.isdisjoint(self.frames(split))]
        built_in = [split for split in ("train", "val") if complete.issuperset(self.frames(split))]
        return tuple(own or built_in or ["all"])

    def frames(self, split: str) -> tuple[str, ...]:
        for folder in (self.root / IMAGES, self.root / LABELS):
            if not folder.is_dir():
                raise DatasetError(f"{folder}: no such folder; {WANTED}")
        return frames_of_split(self.root, split, self._images.keys() | self._labelled)

    def has(self, frame: str) -> bool:
        return frame in self._images and frame in self._labelled

    def image_path(self, frame: str) -> Path:
        return self._images[frame]

    def label_path(self, frame: str) -> Path:
        return self.root / LABELS / f"{frame}.txt"

    def annotations(self, frame: str) -> list[Label]:
        return read_labels(self.label_path(frame))

    def where(self, frame: str) -> str:
        return str(self.label_path(frame))

    def class_set(self, spec: str | Sequence[str]) -> ClassSet:
        return class_set(spec)

    def test_images(self) -> dict[str, Path]:
        images = image_files(self.root / TEST_IMAGES)
        if not images:
            raise DatasetError(f"{self.root / TEST_IMAGES}: no image in it; the test split is read from there")
        return images


class KittiWriter:
    """ROOT/training/image_2/<frame>.png, ROOT/training/label_2/<frame>.txt and, on closing, ROOT/ImageSets/<split>.txt.
    Regions to ignore are called DontCare, whatever they were."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self._splits: dict[str, list[str]] = {}

    def image_path(self, split: str, frame: str, suffix: str) -> Path:
        return self.root / IMAGES / f"{frame}{suffix}"

    def add(self, split: str, image: Path, size: tuple[int, int], annotations: Sequence[Annotation]) -> None:
        self._splits.setdefault(split, []).append(image.stem)
        (self.root / LABELS).mkdir(parents=True, exist_ok=True)
        write_labels(self.root / LABELS / f"{image.stem}.txt", map(as_label, annotations))

    def close(self) -> None:
        (self.root / LISTS).mkdir(parents=True, exist_ok=True)
        for split, frames in self._splits.items():
            write_text(self.root / LISTS / f"{split}.txt", "".join(f"{frame}\n" for frame in frames))


def as_label(annotation: Annotation) -> Label:
    """An annotation with nothing known of its third dimension."""
    if isinstance(annotation, Label):
        return replace(annotation, name=DONT_CARE) if annotation.ignore else annotation
    if annotation.ignore:
        return Label(DONT_CARE, annotation.box)
    return Label(annotation.name, annotation.box, annotation.truncation, annotation.occlusion)


def image_files(folder: Path) -> dict[str, Path]:
    """The image of each frame in a folder, in the order of frames."""
    found = {path.stem: path for suffix in reversed(IMAGE_SUFFIXES) for path in folder.glob(f"*{suffix}")}
    return dict(sorted(found.items()))


def frames_of_split(root: Path, split: str, everything: Iterable[str]) -> tuple[str, ...]:
    """The frames of a split in the order of its list; `everything` is what `all` means where no list is called so."""
    lists = (root / LISTS / f"{split}.txt", SPLITS / f"{split}.txt")
    for path in lists:
        if path.exists():
            return _listed(path)
    if split == "all":
        return _checked(sorted(everything), str(root))
    raise DatasetError(f"split {split!r}: expected train, val, all, or a list {lists[0]}")


def _listed(path: Path) -> tuple[str, ...]:
    try:
        frames = tuple(dict.fromkeys(path.read_text(encoding="utf-8-sig").split()))
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: not a text file in UTF-8; a list holds one frame a line") from None
    if not frames:
        raise DatasetError(f"{path}: the list is empty; write one frame a line")
    return _checked(frames, str(path))


def _checked(frames: Sequence[str], where: str) -> tuple[str, ...]:
    """Frames become names of files and lines of text."""
    odd = next((frame for frame in frames if not frame.isprintable() or len(frame) > 200), None)
    if odd is not None:
        raise DatasetError(f"{where}: {odd[:40]!a} cannot be the name of a frame; expected a short printable one")
    return tuple(frames)


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return text if float(text) == value else repr(float(value))


@lru_cache(maxsize=4096)
def _own_name(field: str) -> str | None:
    """The class that a field names, where it is none of KITTI's; None if it cannot be one."""
    try:
        return check_class_names([unquote(field)], "")[0]
    except DatasetError:
        return None


def _shown(field: str) -> str:
    return ascii(field if len(field) <= 40 else field[:37] + "...")


def _bad_number(fields: list[str], where: str) -> LabelError:
    """The error for the first field that is not a plain finite number."""
    name, field = next(pair for pair in zip(FIELDS[1:], fields[1:], strict=False) if not _is_number(pair[1]))
    return LabelError(f"{where}: {name} is {_shown(field)}, expected a finite number up to {LARGEST:,.0f} either way")


def _is_number(field: str) -> bool:
    try:
        return abs(float(field)) <= LARGEST and "_" not in field
    except ValueError:
        return False
