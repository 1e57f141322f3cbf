"""A data set in another format: `python -m data.convert SOURCE ROOT --to kitti|coco|yolo [--map old=new,rider=]`.

Classes, boxes, regions to ignore and splits stay what they are, and so do the images: copied, or linked with --link.
ROOT appears whole or not at all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from data.annotation import AUTO, Annotation, DatasetError
from data.detection import inverted
from data.formats import READ, WRITTEN, Source, Writer, open_source, open_writer
from data.formats.kitti import CLASSES, DONT_CARE, IMAGE_SUFFIXES
from data.images import image_size, read_image, write_image
from system.command import Parser, exit_status
from system.files import replacing

Link = Literal["copy", "hard", "symbolic"]


class Converter:
    """Frames of a source into a writer, with classes renamed and dropped; `counts` says what came of it."""

    def __init__(self, source: Source, writer: Writer, to: str, renamed: Mapping[str, str], link: Link) -> None:
        self.source, self.writer, self.to, self.renamed, self.link = source, writer, to, renamed, link
        self.counts, self.frames = Counter[str](), Counter[str]()
        self._taken: dict[Path, Path] = {}

    def split(self, name: str) -> None:
        """All frames of a split. A data set without splits is one to train on."""
        target = "train" if name == "all" else name
        for frame in tqdm(self.source.frames(name), name, unit="frame", leave=False, disable=None):
            if not self.source.has(frame):
                self.counts["missing"] += 1
                continue
            image, annotations = self.source.image_path(frame), list(self._annotations(frame))
            self.writer.add(target, self._place(target, frame, image), image_size(image), annotations)
            self.frames[target] += 1
            self.counts["regions"] += sum(annotation.ignore for annotation in annotations)
            self.counts["objects"] += sum(not annotation.ignore for annotation in annotations)

    def _annotations(self, frame: str) -> Iterable[Annotation]:
        for number, annotation in enumerate(self.source.annotations(frame), 1):
            if fault := inverted(annotation):
                raise DatasetError(f"{self.source.where(frame)}: object {number} {fault}")
            name = self.renamed.get(annotation.name, annotation.name)
            if name:
                yield replace(annotation, name=name, ignore=annotation.ignore or name == DONT_CARE)

    def _place(self, split: str, frame: str, image: Path) -> Path:
        """Brings the image to where it belongs. A name that is taken already gets a number."""
        suffix = image.suffix.lower()
        if self.to == "kitti" and suffix not in IMAGE_SUFFIXES:
            suffix = ".png"
        plain = re.sub(r"[^\w.-]+", "_", frame)
        names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, 1_000_000))
        places = (self.writer.image_path(split, name, suffix).with_suffix("") for name in names)
        free = next(place for place in places if self._taken.setdefault(place, image) == image)
        path = free.with_name(free.name + suffix)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _bring(image, path, self.link)
        return path


def convert(source: Source, root: Path, to: str, renamed: Mapping[str, str], link: Link = "copy") -> str:
    """Writes the data set to `root`, which must not exist or be empty. Returns what was done, in a line."""
    check_free(root)
    names = names_of(source)
    if unknown := [name for name in renamed if name not in names and name != DONT_CARE]:
        raise ValueError(f"--map: no class is called {unknown[0]!a}; there are {', '.join(names)}")
    kept = dict.fromkeys(new for name in names if (new := renamed.get(name, name)) and new != DONT_CARE)
    with replacing(root.absolute()) as part:
        part.mkdir(parents=True)
        converter = Converter(source, open_writer(part, to, tuple(kept)), to, renamed, link)
        for split in source.splits():
            converter.split(split)
        if not converter.frames or not converter.counts["objects"] + converter.counts["regions"]:
            raise ValueError(f"{source.root}: no frame with an image and an object is left; nothing to convert")
        converter.writer.close()
    return _summary(converter, root, kept)


def check_free(root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root}: there is something already; give a new or an empty folder")


def names_of(source: Source) -> tuple[str, ...]:
    """Class names in the order of the data set: those it declares, or in KITTI's layout those its labels hold."""
    found = dict[str, None]()
    for split in source.splits():
        frames = source.frames(split)
        if source.kind == "kitti":
            found |= {label.name: None for frame in frames if source.has(frame) for label in source.annotations(frame)}
    declared = [name for name in source.class_set(AUTO).names if name in found or source.kind != "kitti"]
    return (*declared, *sorted(found.keys() - set(declared) - {DONT_CARE}))


def _bring(image: Path, path: Path, link: Link) -> None:
    if path.suffix != image.suffix.lower():  # a kind of file that the format does not know
        write_image(path, read_image(image))
    elif link == "symbolic":
        path.symlink_to(image.resolve())
    elif link == "hard":
        try:
            path.hardlink_to(image.resolve())
        except OSError as fault:
            mend = "--link symbolic works from disk to disk, and without --link images are copied"
            raise OSError(f"{image}: no hard link can be made to it ({fault.strerror}); {mend}") from None
    else:
        shutil.copyfile(image, path)


def _summary(converter: Converter, root: Path, kept: Iterable[str]) -> str:
    counts = converter.counts
    splits = ", ".join(f"{split} {count:,}" for split, count in converter.frames.items())
    lines = [
        f"{root}: {converter.to}, frames: {splits}; "
        f"{counts['objects']:,} objects, {counts['regions']:,} regions to ignore; classes: {', '.join(kept)}"
    ]
    if counts["missing"]:
        lines.append(f"left out: {counts['missing']:,} frames without their image or labels")
    own = {name.lower(): name for name in CLASSES}
    respelt = [f"{name} as {own[name.lower()]}" for name in kept if own.get(name.lower(), name) != name]
    if converter.to == "kitti" and respelt:
        lines.append(f"note: KITTI's names are read without case: {', '.join(respelt)}")
    return "\n".join(lines)


def pairs(text: str) -> dict[str, str]:
    """An argument that renames: `person=Pedestrian,rider=`."""
    renamed = {}
    for pair in text.split(","):
        name, equals, new = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise argparse.ArgumentTypeError(f"{pair!r}: expected old=new, or old= to drop the class")
        renamed[name] = new
    return renamed


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m data.convert", description="Write a data set in another format.")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the data set, its data.yaml or its json")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder to write: new or empty")
    parser.add_argument("--from", dest="kind", choices=READ, help="format of SOURCE (default: what is there)")
    parser.add_argument("--to", required=True, choices=WRITTEN, help="format of ROOT")
    parser.add_argument(
        "--map",
        type=pairs,
        default={},
        metavar="OLD=NEW,..",
        help="rename classes; OLD= drops one, DontCare ignores it",
    )
    parser.add_argument(
        "--link", choices=("hard", "symbolic"), default="copy", help="link the images instead of copying them"
    )
    options = parser.parse_args(arguments)
    return exit_status(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    source = open_source(options.source, options.kind, masks=options.to == "coco")
    print(convert(source, options.root, options.to, options.map, options.link))


if __name__ == "__main__":
    sys.exit(main())
