"""Where frames and their annotations come from. Each format reads and writes its own files; all speak Annotation.

The formats are imported late: who scores KITTI's files should not wait for libraries that read images and YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from data.annotation import Annotation, ClassSet, DatasetError
from data.formats.kitti import IMAGES, LABELS, TEST_IMAGES, KittiSource, KittiWriter

READ = ("kitti", "yolo", "coco", "bdd100k")
WRITTEN = ("kitti", "yolo", "coco")


class Source(Protocol):
    """A data set on disk, in whatever format."""

    kind: str
    root: Path

    def splits(self) -> tuple[str, ...]:
        """The names of its splits."""

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
        """The images that have no annotations, by frame: KITTI's test split. Others have none."""


class Writer(Protocol):
    """Writes a data set frame by frame, and closes it when all are there."""

    def image_path(self, split: str, frame: str, suffix: str) -> Path:
        """Where the image of a frame belongs."""

    def add(self, split: str, image: Path, size: tuple[int, int], annotations: Sequence[Annotation]) -> None:
        """The frame whose image lies at `image` and has (height, width) `size`."""

    def close(self) -> None: ...


def format_of(root: Path) -> str:
    """Which format a data set has, told from what is there."""
    from data.formats.bdd100k import Bdd100kSource, is_bdd100k
    from data.formats.coco import CocoSource
    from data.formats.yolo import yaml_in

    if root.suffix == ".json" and root.is_file():
        return "bdd100k" if is_bdd100k(root) else "coco"
    if any((root / folder).is_dir() for folder in (IMAGES, LABELS, TEST_IMAGES)):
        return "kitti"
    if yaml_in(root):
        return "yolo"
    for source in (CocoSource, Bdd100kSource):
        if source.find(root)[1]:
            return source.kind
    if not root.exists():
        raise DatasetError(f"{root}: no such folder; give the folder of a data set")
    known = f"{IMAGES} and {LABELS.name} (KITTI), data.yaml (YOLO), annotations/instances_train.json (COCO)"
    raise DatasetError(f"{root}: no data set in it, no such folder or file as {known}")


def open_source(root: str | Path, kind: str | None = None, masks: bool = False) -> Source:
    """The data set at `root`, of this format or of the one that is told from what is there; with `masks`, where the
    format has any, its annotations have them. They take memory."""
    from data.formats.bdd100k import Bdd100kSource
    from data.formats.coco import CocoSource
    from data.formats.yolo import YoloSource

    coco = partial(CocoSource, masks=masks)
    kinds: tuple[Callable[[Path], Source], ...] = (KittiSource, YoloSource, coco, Bdd100kSource)
    return dict(zip(READ, kinds, strict=True))[kind or format_of(Path(root))](Path(root))


def open_writer(root: Path, kind: str, names: Sequence[str]) -> Writer:
    """Writes a data set of a format to `root`; `names` are its classes in order, as far as they are known."""
    from data.formats.coco import CocoWriter
    from data.formats.yolo import YoloWriter

    kinds: tuple[Callable[[Path, Sequence[str]], Writer], ...] = (KittiWriter, YoloWriter, CocoWriter)
    return dict(zip(WRITTEN, kinds, strict=True))[kind](root, names)
