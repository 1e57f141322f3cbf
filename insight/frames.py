"""The pictures that a command looks at: files and folders, or those of a data set with what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.annotation import Annotation
from data.detection import DetectionDataset
from data.formats.kitti import image_files
from data.images import read_image
from data.pictures import open_pictures
from detector.export.calibration import evenly

Image = NDArray[np.uint8]  # [h, w, 3] RGB


@dataclass(frozen=True)
class Frames:
    """Pictures by name, read when asked for. What is in them is None where nobody knows it.

    annotations     the objects of each; named: the class that each shows as a whole
    split           where they come from, for people
    """

    reads: Mapping[str, Callable[[], Image]]
    annotations: Mapping[str, Sequence[Annotation]] | None = None
    named: Mapping[str, str] | None = None
    split: str = ""

    def __len__(self) -> int:
        return len(self.reads)

    def __iter__(self) -> Iterator[tuple[str, Image]]:
        return ((name, read()) for name, read in self.reads.items())


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
    return Frames({name: partial(read_image, path, upright=True) for name, path in paths.items()})


def of_split(root: Path, split: str, most: int | None) -> Frames:
    """At most `most` frames of a split, evenly spread over it."""
    dataset = DetectionDataset(root, split)
    names = evenly(dataset.frames, most or len(dataset))
    reads = {name: partial(read_image, dataset.image_path(name)) for name in names}
    return Frames(reads, annotations={name: dataset.annotations(name) for name in names}, split=split)


def of_pictures(root: Path, split: str, classes: Sequence[str], most: int | None) -> Frames:
    """At most `most` pictures of these classes, evenly spread over a split."""
    pictures = open_pictures(root, split, classes)
    by_name = {pictures.name(index): index for index in range(len(pictures.labels))}
    names = evenly(tuple(by_name), most or len(by_name))
    return Frames(
        {name: partial(pictures.read, by_name[name]) for name in names},
        named={name: classes[pictures.labels[by_name[name]]] for name in names},
        split=split,
    )
