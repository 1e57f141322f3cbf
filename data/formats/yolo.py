"""YOLO's files: data.yaml with names and splits, images, and one .txt an image with one line an object.

ROOT/data.yaml       train: images/train   val: images/val   names: [car, bus]
ROOT/images/train/000000.jpg
ROOT/labels/train/000000.txt       class centre_x centre_y width height, the last four as shares of the image

A line with more numbers is a polygon, x y x y ..., and becomes its box. An image without a .txt has no objects.
"""

from __future__ import annotations

import contextlib
import math
import os
import reprlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from data.annotation import Annotation, Box, ClassSet, DatasetError, Problem
from data.formats.boxes import from_shares, to_shares
from data.formats.classes import class_set_among, unique_names
from data.formats.kitti import DONT_CARE
from data.formats.listed import plain_split
from data.images import ImageError, image_size
from system.files import write_text

YAML = "data.yaml"
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))
KEYS = ("train", "val", "valid", "test")  # of data.yaml that name images
REACH = (-1.0, 2.0)  # shares beyond these are no shares: pixels, most likely
WANTED = "write names: [car, bus] and train: images/train into it"


class YoloSource:
    """The data set of a data.yaml, or of the one in ROOT. A frame is one of the split that was asked for last."""

    kind = "yolo"

    def __init__(self, root: str | Path) -> None:
        found = yaml_in(Path(root))
        if found is None:
            raise DatasetError(f"{Path(root) / YAML}: no such file; {WANTED}")
        self.yaml, self.root = found, Path(os.path.normpath(found.parent))
        self._content = _read(found)
        self.names = _class_names(self._content, found)
        self._images: dict[str, Path] = {}

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(plain_split, self._keys())))

    def frames(self, split: str) -> tuple[str, ...]:
        keys = self._keys() if split == "all" else [key for key in self._named() if split in (plain_split(key), key)]
        if not keys:
            there = ", ".join(self.splits()) or "none"
            raise DatasetError(
                f"{self.yaml}: split {split!r} is not among its splits ({there}); add it, or name another"
            )
        images = [image for key in keys for entry in self._entries(key) for image in self._listed(entry, key)]
        base = _common_folder(images) if images else self.root
        self._images = {}
        for image in images:
            frame = image.relative_to(base).with_suffix("").as_posix()
            known = self._images.setdefault(frame, image)
            if known != image:
                self._images[image.relative_to(base).as_posix()] = image  # a.jpg and a.png
        return tuple(self._images)

    def has(self, frame: str) -> bool:
        return self._images[frame].is_file()

    def image_path(self, frame: str) -> Path:
        return self._images[frame]

    def label_path(self, frame: str) -> Path:
        """Below the folder `labels` that stands where `images` does, or else beside the image."""
        image = self._images[frame].with_suffix(".txt")
        root = self.root if image.is_relative_to(self.root) else Path(image.anchor)
        parts = list(image.relative_to(root).parts)
        if "images" in parts[:-1]:
            last = len(parts) - 1 - parts[::-1].index("images")
            parts[last] = "labels"
        return root.joinpath(*parts)

    def annotations(self, frame: str) -> list[Annotation]:
        found = []
        for line in self._lines(frame):
            if isinstance(line, Problem):
                raise DatasetError(f"{self.label_path(frame)}:{line.line}: {line.message}")
            found.append(line)
        return found

    def where(self, frame: str) -> str:
        return str(self.label_path(frame))

    def class_set(self, spec: str | Sequence[str]) -> ClassSet:
        return class_set_among(self.names, spec, str(self.yaml))

    def test_images(self) -> dict[str, Path]:
        return {}

    def problems(self, split: str) -> Iterator[Problem]:
        """Lines that cannot be read, and label files beside those of the split that no image has."""
        frames = self.frames(split)
        for frame in frames:
            with contextlib.suppress(ImageError):  # a broken image is for others to tell
                yield from (line for line in self._lines(frame) if isinstance(line, Problem))
        for images, labels in sorted({(self._images[frame].parent, self.label_path(frame).parent) for frame in frames}):
            if images != labels:
                called = {path.stem for path in images.iterdir()} if images.is_dir() else set()
                for path in sorted(path for path in labels.glob("*.txt") if path.stem not in called):
                    yield Problem(
                        "label without an image", self._shown(path), None, f"no image in {images.name} has it"
                    )

    def _lines(self, frame: str) -> Iterator[Annotation | Problem]:
        path = self.label_path(frame)
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            size = image_size(self._images[frame]) if text.strip() else (1, 1)
        except FileNotFoundError:
            return
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield self._annotation(line.split(), size)
                except ValueError as fault:
                    yield Problem("malformed label line", self._shown(path), number, str(fault))

    def _annotation(self, fields: list[str], size: tuple[int, int]) -> Annotation:
        """Raises ValueError for what is no object."""
        if len(fields) != 5 and (len(fields) < 7 or (len(fields) % 2 == 0 and not self._has_points)):
            raise ValueError(f"found {len(fields)} fields, expected class x y width height, or class and a polygon")
        if not fields[0].isdecimal() or int(fields[0]) >= len(self.names):
            last = len(self.names) - 1
            raise ValueError(f"class is {fields[0][:40]!a}, expected one of 0 to {last}, which {self.yaml.name} names")
        shares = [_share(field) for field in fields[1:]]
        box = shares[:4] if len(fields) == 5 or self._has_points else _around(shares)
        if min(box[2:]) < 0:
            raise ValueError(f"width {box[2]:g} and height {box[3]:g}, expected 0 or more")
        name = self.names[int(fields[0])]
        return Annotation(name, from_shares(box, size), ignore=name == DONT_CARE)

    @cached_property
    def _has_points(self) -> bool:
        """Whether lines go on with key points after the box."""
        return "kpt_shape" in self._content

    def _named(self) -> list[str]:
        return [key for key in KEYS if self._content.get(key)]

    def _keys(self) -> list[str]:
        """The splits that data.yaml names; Roboflow names one to test even where there is none."""
        return [key for key in self._named() if key != "test" or all(map(self._place, self._entries(key)))]

    def _entries(self, key: str) -> list[str]:
        return _entries(self._content[key], f"{self.yaml}: {key}")

    def _listed(self, entry: str, key: str) -> list[Path]:
        """The images of a folder, or of a list of images."""
        path = self._place(entry)
        if path is None:
            raise DatasetError(f"{self.yaml}: {key}: no such folder or list as {entry!a}; mend it, or `path`")
        if path.is_dir():
            return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not path.is_file():
            raise DatasetError(f"{self.yaml}: {key}: {path} is neither a folder nor a list of images")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise DatasetError(f"{path}: not a list in UTF-8; write the path of an image on each line") from None
        bases = (path.parent, self._base, self.root)
        first = next((base for base in bases if lines and (base / lines[0]).is_file()), self._base)
        return [first / line for line in lines]

    @property
    def _base(self) -> Path:
        """The folder that paths in data.yaml start from."""
        path = self._content.get("path")
        return self.root / path if isinstance(path, str) else self.root

    def _place(self, entry: str) -> Path | None:
        """Where an entry leads: from `path`, from the folder of data.yaml, or in it, as Roboflow's ../train/images."""
        inside = entry.replace("\\", "/")
        while inside.startswith("../"):
            inside = inside[3:]
        places = (self._base / entry, self.root / entry, self.root / inside)
        return next((Path(os.path.normpath(place)) for place in places if place.exists()), None)

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


class YoloWriter:
    """ROOT/images/<split>/<frame>.jpg, ROOT/labels/<split>/<frame>.txt and, on closing, ROOT/data.yaml."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self._numbers = root, {name: number for number, name in enumerate(names)}
        self._splits: dict[str, None] = {}

    def image_path(self, split: str, frame: str, suffix: str) -> Path:
        return self.root / "images" / split / f"{frame}{suffix}"

    def add(self, split: str, image: Path, size: tuple[int, int], annotations: Sequence[Annotation]) -> None:
        self._splits[split] = None
        path = self.root / "labels" / split / f"{image.stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(f"{self._number(item)} {format_shares(item.box, size)}\n" for item in annotations))

    def close(self) -> None:
        splits = {split: f"images/{split}" for split in self._splits}
        content = {**splits, "nc": len(self._numbers), "names": list(self._numbers)}
        write_text(self.root / YAML, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def _number(self, annotation: Annotation) -> int:
        """A region to ignore is of the class DontCare: the format knows none."""
        name = DONT_CARE if annotation.ignore else annotation.name
        return self._numbers.setdefault(name, len(self._numbers))


def format_shares(box: Box, size: tuple[int, int]) -> str:
    """Six decimals as others write them where they say the box exactly, else as many as it takes."""
    shares = to_shares(box, size)
    for decimals in (6, 9, 12, 15):
        text = " ".join(f"{share:.{decimals}f}" for share in shares)
        if from_shares(tuple(map(float, text.split())), size) == box:
            break
    return text


def yaml_in(root: Path) -> Path | None:
    """The data.yaml that ROOT is or has; another name will do if only one file has names or splits in it."""
    if root.is_file():
        return root if root.suffix in (".yaml", ".yml") else None
    if (root / YAML).is_file():
        return root / YAML
    found = [path for path in sorted(root.glob("*.y*ml")) if _describes_images(path)]
    return found[0] if len(found) == 1 else None


def _describes_images(path: Path) -> bool:
    try:
        return not {"names", "train"}.isdisjoint(_read(path))
    except DatasetError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError:
        raise
    except Exception as fault:  # besides what YAML says of itself: a date with month 99, a nest without end
        mark = getattr(fault, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise DatasetError(f"{path}{line}: not valid YAML; {WANTED}") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys and values; {WANTED}")
    return content


def _class_names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    """`names` is a list, or says each name's number."""
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DatasetError(f"{path}: names are numbered {reprlib.repr(list(names))}, expected 0, 1, 2 and so on")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: no names of the classes; {WANTED}")
    if count is not None and count != len(names):
        found = f"nc is {reprlib.repr(count)} and there are {len(names)} names"
        raise DatasetError(f"{path}: {found}; mend the one that is wrong")
    return unique_names([str(name) if type(name) in (int, float) else name for name in names], f"{path}: names")


def _entries(value: object, where: str) -> list[str]:
    """A split is one folder or list of images, or several."""
    entries = value if isinstance(value, list) else [value]
    texts = [entry for entry in entries if isinstance(entry, str)]
    if len(texts) < len(entries):
        raise DatasetError(f"{where} is {reprlib.repr(value)}, expected a folder, a list of images, or some of these")
    return texts


def _common_folder(images: Sequence[Path]) -> Path:
    folders = {image.parent for image in images}
    first = min(folders)
    return next(base for base in (first, *first.parents) if all(folder.is_relative_to(base) for folder in folders))


def _share(field: str) -> float:
    try:
        share = float(field)
    except ValueError:
        share = math.nan
    if not REACH[0] <= share <= REACH[1] or "_" in field:
        raise ValueError(f"{field[:40]!a} is no share of the image; expected numbers from 0 to 1, not pixels")
    return share


def _around(points: Sequence[float]) -> list[float]:
    """The box of a polygon x y x y ... as centre x and y, width, height."""
    xs, ys = points[::2], points[1::2]
    x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
