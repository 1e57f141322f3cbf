"""Pictures of one thing each, and what they show, from the layouts in which such data comes.

class folders   ROOT/SPLIT/CLASS/*, as ImageNet's; pictures may lie deeper within their class
Tiny-ImageNet   the same for train; ROOT/val/images/* with ROOT/val/val_annotations.txt
CIFAR-10        ROOT/cifar-10-batches-py, whose splits are train and test
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.annotation import DatasetError, check_class_names
from data.cache import CacheSpec
from data.images import read_image

ANNOTATIONS = "val_annotations.txt"
WORDS = "words.txt"
CIFAR = "cifar-10-batches-py"
CIFAR_SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
INNER = "tiny-imagenet-200"  # the folder that Tiny-ImageNet's archive unpacks to
DOWNLOAD = "python -m data.download ROOT --only cifar10|tiny-imagenet fetches one"


class Pictures(Protocol):
    """A split: `labels` int64 [n] count in `classes`."""

    classes: tuple[str, ...]
    labels: np.ndarray

    def read(self, index: int) -> np.ndarray:
        """uint8 [h, w, 3] RGB; not to be written to."""

    def name(self, index: int) -> str:
        """What the picture is called, for people."""


class PictureFiles:
    """Pictures in files of their own, by class. `cache` keeps them decoded."""

    def __init__(
        self, files: Mapping[str, Sequence[Path]], classes: Sequence[str], root: Path, cache: CacheSpec | None = None
    ) -> None:
        self.classes, self.root = tuple(classes), root
        index = {name: number for number, name in enumerate(self.classes)}
        self.paths = [path for of_class in files.values() for path in of_class]
        self.labels = np.repeat([index[name] for name in files], [len(of_class) for of_class in files.values()])
        self._cache = cache.open(self.paths) if cache else None

    def read(self, index: int) -> np.ndarray:
        path = self.paths[index]
        return read_image(path) if self._cache is None else self._cache.read(path)[0]

    def name(self, index: int) -> str:
        return str(self.paths[index].relative_to(self.root))


class CifarPictures:
    """CIFAR-10 as its authors pack it. torchvision holds every file against its checksum before it opens one."""

    def __init__(self, root: Path, split: str) -> None:
        if split not in CIFAR_SPLITS:
            raise DatasetError(f"{root / CIFAR}: CIFAR-10 has no split {split!r}; use {' or '.join(CIFAR_SPLITS)}")
        from torchvision.datasets import CIFAR10  # late: torch takes seconds, and a download needs none

        try:
            packed = CIFAR10(str(root), train=split == "train")
        except RuntimeError:
            mend = "remove it, and python -m data.download ROOT --only cifar10 fetches it again"
            raise DatasetError(f"{root / CIFAR}: files are missing or damaged; {mend}") from None
        self.classes = tuple(packed.classes)
        self.labels = np.array(packed.targets, np.int64)
        self._split, self._pixels = split, packed.data  # uint8 [n, 32, 32, 3] RGB

    def read(self, index: int) -> np.ndarray:
        pixels: np.ndarray = self._pixels[index]
        return pixels

    def name(self, index: int) -> str:
        return f"{self._split}/{index:05d}"


def open_pictures(
    root: str | Path,
    split: str,
    classes: Sequence[str] | None = None,
    cache: CacheSpec | None = None,
    allow_missing: bool = False,
) -> Pictures:
    """The pictures of a split. With `classes` (those trained on) they must be of just these, in this order;
    `allow_missing` lets some of them have no pictures. Raises DatasetError where that cannot be."""
    root = Path(root)
    if (root / INNER / split).is_dir():
        root = root / INNER
    if (root / CIFAR).is_dir():
        packed = CifarPictures(root, split)
        _check_classes(packed.classes, classes or packed.classes, root / CIFAR, allow_missing)
        return packed
    folder = root / split
    files = _listed(folder) if (folder / ANNOTATIONS).is_file() else _by_folder(root, split)
    _check_classes(tuple(files), classes or tuple(files), folder, allow_missing)
    return PictureFiles(files, classes or tuple(files), root, cache)


def titles(root: str | Path, classes: Sequence[str]) -> dict[str, str]:
    """Classes and what people call them, where ROOT/words.txt says it of WordNet's ids: `n01443537 goldfish`."""
    file = next((path for path in (Path(root) / WORDS, Path(root) / INNER / WORDS) if path.is_file()), None)
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return {name: f"{name} {words[name].split(',')[0]}" if name in words else name for name in classes}


def _by_folder(root: Path, split: str) -> dict[str, list[Path]]:
    """The pictures of every class folder, both in the order of their names."""
    folder = root / split
    if not folder.is_dir():
        found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())[:5]) if root.is_dir() else ""
        there = f"there are {found}" if found else "no data set is there"
        raise DatasetError(f"{folder}: no such folder ({there}); expected ROOT/{split}/CLASS/*; {DOWNLOAD}")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(names) < 2:
        found = f"one class folder only ({names[0]})" if names else "no class folders"
        raise DatasetError(f"{folder}: {found}; expected {folder}/CLASS/* for two classes or more")
    files = {name: pictures_in(folder / name) for name in check_class_names(names, str(folder))}
    empty = [name for name, pictures in files.items() if not pictures]
    if empty:
        found = f"{len(empty)} of {len(names)} class folders hold no pictures (first: {', '.join(empty[:3])})"
        raise DatasetError(f"{folder}: {found}; fill them or remove them")
    return files


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder and of those within it."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _listed(folder: Path) -> dict[str, list[Path]]:
    """Tiny-ImageNet's val: lines of `file class x1 y1 x2 y2`."""
    files: dict[str, list[Path]] = {}
    list_file = folder / ANNOTATIONS
    for number, line in enumerate(list_file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or Path(words[0]).name != words[0]:
            raise DatasetError(f"{list_file}:{number}: {line[:60]!r}; expected a file name and its class")
        files.setdefault(words[1], []).append(folder / "images" / words[0])
    if not files:
        raise DatasetError(f"{list_file}: no lines; copy or download it again")
    there = {path.name for path in (folder / "images").glob("*")}
    absent = [path.name for of_class in files.values() for path in of_class if path.name not in there]
    if absent:
        found = f"{len(absent)} of its pictures are not in {folder / 'images'} (first: {absent[0]})"
        raise DatasetError(f"{list_file}: {found}; copy or download them again")
    return {name: files[name] for name in check_class_names(sorted(files), str(list_file))}


def _check_classes(found: Sequence[str], expected: Sequence[str], where: Path, allow_missing: bool) -> None:
    unknown = sorted(set(found) - set(expected))
    lacking = [] if allow_missing else sorted(set(expected) - set(found))
    if unknown or lacking:
        parts = [f"{len(unknown)} unknown ({', '.join(unknown[:3])})"] if unknown else []
        parts += [f"{len(lacking)} without pictures ({', '.join(lacking[:3])})"] if lacking else []
        raise DatasetError(
            f"{where}: its classes are not those trained on: {', '.join(parts)}; every split needs the same folders"
        )
