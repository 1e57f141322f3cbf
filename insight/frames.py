"""The pictures that a command looks at: files and folders, or frames of a data set with what is annotated in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.annotation import Annotation
from data.detection import DetectionDataset
from data.formats.kitti import image_files
from data.images import read_image
from detector.export.calibration import evenly
from insight.subject import Image


@dataclass(frozen=True)
class Frames:
    """Pictures by name, read when asked for; their annotations are None where nobody knows them."""

    paths: Mapping[str, Path]
    annotations: Mapping[str, Sequence[Annotation]] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Image]]:
        return ((name, read_image(path, upright=self.annotations is None)) for name, path in self.paths.items())


def of_files(given: Sequence[str]) -> Frames:
    """Image files, and the images in folders."""
    paths: dict[str, Path] = {}
    for text in given:
        path = Path(text)
        inside = image_files(path) if path.is_dir() else {path.stem: path}
        if not inside:
            raise ValueError(f"{path}: no .png or .jpg in this folder")
        if twice := paths.keys() & inside:
            raise ValueError(f"{path}: a second picture called {min(twice)}; give one of them another name")
        paths |= inside
    return Frames(paths)


def of_split(root: Path, split: str, most: int | None) -> Frames:
    """At most `most` frames of a split, evenly spread over it."""
    dataset = DetectionDataset(root, split)
    names = evenly(dataset.frames, most or len(dataset))
    return Frames(
        {name: dataset.image_path(name) for name in names}, {name: dataset.annotations(name) for name in names}
    )
