"""Where frames and their annotations come from. Each format reads and writes its own files; all speak Annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from data.annotation import Annotation, ClassSet, DatasetError
from data.formats.kitti import IMAGES, TEST_IMAGES, WANTED, KittiSource


class Source(Protocol):
    """A data set on disk, in whatever format."""

    root: Path

    def frames(self, split: str) -> tuple[str, ...]:
        """The ids of a split's frames in order, also of those whose files are missing."""

    def has(self, frame: str) -> bool:
        """Whether the frame's image and annotations are there."""

    def image_path(self, frame: str) -> Path: ...

    def annotations(self, frame: str) -> Sequence[Annotation]:
        """Everything annotated in a frame, in the order of the file."""

    def where(self, frame: str) -> str:
        """Where its annotations stand, for messages."""

    def class_set(self, spec: str | Sequence[str]) -> ClassSet:
        """What `data.classes` means here."""

    def test_images(self) -> dict[str, Path]:
        """The images that have no annotations, by frame: the test split."""


def open_source(root: str | Path) -> Source:
    """The data set at `root`; its format is told from what is there."""
    root = Path(root)
    if (root / IMAGES).parent.is_dir() or (root / TEST_IMAGES).is_dir():
        return KittiSource(root)
    raise DatasetError(f"{root / IMAGES}: no such folder; {WANTED}")
