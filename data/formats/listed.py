"""Formats that keep the annotations of a split in one JSON file: what COCO and BDD100K share."""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from data.annotation import Annotation, ClassSet, DatasetError, Problem
from data.formats.classes import class_set_among
from data.images import ImageError, image_size

log = logging.getLogger(__name__)
LONGEST_NAME = 255  # bytes that file systems take
PROBED = 20  # images looked for, to find the folder they lie in
_ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a list: its file's name, (height, width) where the list says it, its annotations as they stand."""

    file: str
    size: tuple[int, int] | None
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Listing:
    """What one file says: the class names it declares by their number, images by frame, and what is wrong with it."""

    path: Path
    names: Mapping[Any, str]
    pictures: Mapping[str, Picture]
    problems: Sequence[Problem] = ()


class ListedSource(ABC):
    """The data set at `root`, which may be one of its files. A frame is one of the split that was asked for last."""

    kind: str

    def __init__(self, root: str | Path) -> None:
        self.root, self._files = self.find(Path(root))
        if not self._files:
            raise DatasetError(
                f"{root}: no file of the format {self.kind} in it; see docs/data.md where it is looked for"
            )
        self._listings: dict[str, Listing] = {}
        self._frames: dict[str, tuple[Listing, Picture]] = {}
        self._folders: dict[Path, Path] = {}

    @classmethod
    @abstractmethod
    def find(cls, root: Path) -> tuple[Path, dict[str, Path]]:
        """The folder of the data set, and its files by the name of their split; none where this format is not there."""

    @abstractmethod
    def read(self, path: Path) -> Listing:
        """Raises DatasetError for a file that is not what it should be."""

    @abstractmethod
    def annotation(self, listing: Listing, picture: Picture, row: dict[str, Any]) -> Annotation:
        """One annotation. Raises DatasetError for one that cannot be."""

    @abstractmethod
    def image_folders(self, path: Path, split: str) -> Sequence[Path]:
        """Where the images of a file may lie."""

    def splits(self) -> tuple[str, ...]:
        plain = [plain_split(name) for name in self._files]
        return tuple(plain) if len(set(plain)) == len(plain) else tuple(self._files)

    def frames(self, split: str) -> tuple[str, ...]:
        names = list(self._files) if split == "all" and split not in self._files else [self._named(split)]
        found: dict[str, tuple[Listing, Picture]] = {}
        for name in names:
            listing = self._listing(name)
            prefix = f"{name}/" if len(names) > 1 else ""
            found |= {f"{prefix}{frame}": (listing, picture) for frame, picture in listing.pictures.items()}
        self._frames = found
        return tuple(found)

    def has(self, frame: str) -> bool:
        return self.image_path(frame).is_file()

    def image_path(self, frame: str) -> Path:
        listing, picture = self._frames[frame]
        return self._folders[listing.path] / picture.file

    def annotations(self, frame: str) -> list[Annotation]:
        listing, picture = self._frames[frame]
        return [self.annotation(listing, picture, row) for row in picture.rows]

    def where(self, frame: str) -> str:
        listing, picture = self._frames[frame]
        return f"{listing.path}: {picture.file}"

    def class_set(self, spec: str | Sequence[str]) -> ClassSet:
        declared = dict.fromkeys(name for listing in self._listings.values() for name in listing.names.values())
        return class_set_among(tuple(declared), spec, str(self.root))

    def test_images(self) -> dict[str, Path]:
        return {}

    def problems(self, split: str) -> Iterator[Problem]:
        """What is wrong with the file of a split and with the annotations in it."""
        listing = self._listing(self._named(split))
        file = str(listing.path.relative_to(self.root))
        yield from (replace(problem, file=file) for problem in listing.problems)
        for picture in listing.pictures.values():
            seen = _size_of(self._folders[listing.path] / picture.file)
            if picture.size and seen and seen != picture.size:
                found = f"{picture.file} has {seen[1]} x {seen[0]} pixels"
                said = f"{found}, the list says {picture.size[1]} x {picture.size[0]}"
                yield Problem("image of another size", file, None, said)
            for row in picture.rows:
                for kind, said in self.faults(listing, picture, row):
                    yield Problem(kind, file, None, said.removeprefix(f"{listing.path}: "))

    def faults(self, listing: Listing, picture: Picture, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Kind and words for each thing that is wrong with an annotation."""
        try:
            self.annotation(listing, picture, row)
        except DatasetError as fault:
            yield "malformed annotation", str(fault)

    def _named(self, split: str) -> str:
        """The name of the split's file: this very one, or the one that means the same."""
        alike = [name for name in self._files if plain_split(name) == plain_split(split)]
        if split in self._files or len(alike) == 1:
            return split if split in self._files else alike[0]
        raise DatasetError(f"split {split!r}: {self.root} has {', '.join(self._files)}; name one of these, or all")

    def _listing(self, name: str) -> Listing:
        if name not in self._listings:
            path = self._files[name]
            listing = self._listings[name] = self.read(path)
            if found := listing.problems:
                log.warning("%s: %s (%d such; data.doctor lists them)", path, found[0].message, len(found))
            probes = [picture.file for picture in listing.pictures.values()][:PROBED]
            folders = self.image_folders(path, name)
            self._folders[path] = max(folders, key=lambda folder: sum((folder / file).is_file() for file in probes))
        return self._listings[name]


def _size_of(path: Path) -> tuple[int, int] | None:
    """(height, width) of an image that is there and whole."""
    try:
        return image_size(path)
    except (OSError, ImageError):
        return None


def plain_split(name: str) -> str:
    """`train2017`, `valid`, `Training` -> train, val, train."""
    plain = re.sub(r"[_-]?\d+$", "", name.lower())
    return _ALIASES.get(plain, plain)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as fault:
        raise DatasetError(f"{path}:{fault.lineno}: no JSON ({fault.msg}); export or copy it again") from None
    except (ValueError, RecursionError) as fault:  # no text, numbers of thousands of digits, nested without end
        raise DatasetError(f"{path}: no JSON ({type(fault).__name__}); export or copy it again") from None


def frame_of(file: str, where: str) -> str:
    """The frame that an image file is: its path within the images without the ending."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.name or not file.isprintable():
        raise DatasetError(f"{where}: {file[:80]!a} leads out of the data set; write the path within its images")
    if max(len(part.encode()) for part in path.parts) > LONGEST_NAME:
        raise DatasetError(f"{where}: {file[:80]!a}... is longer than a file's name can be; mend it")
    return str(path.with_suffix(""))
