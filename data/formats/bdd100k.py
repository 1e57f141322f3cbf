"""BDD100K's detection labels: one JSON list a split, an entry an image, with a box2d an object.

ROOT/labels/det_20/det_train.json, ROOT/images/100k/train/0000f77c-6257be58.jpg
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.annotation import Annotation, DatasetError
from data.formats.boxes import are_numbers, exact
from data.formats.listed import ListedSource, Listing, Picture, frame_of, plain_split, read_json

CORNERS = ("x1", "y1", "x2", "y2")
_BEGINS = re.compile(rb'\s*\[\s*\{\s*"(name|attributes|timestamp|labels|videoName|url)"')


class Bdd100kSource(ListedSource):
    kind = "bdd100k"

    @classmethod
    def find(cls, root: Path) -> tuple[Path, dict[str, Path]]:
        files = [root] if root.is_file() else [*sorted(root.glob("labels/**/*.json")), *sorted(root.glob("*.json"))]
        found = {_split_of(path): path for path in files if is_bdd100k(path)}
        folder = next((path.parent for path in root.parents if path.name == "labels"), root.parent)
        return (folder if root.is_file() else root), found

    def read(self, path: Path) -> Listing:
        content = read_json(path)
        if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
            raise DatasetError(f"{path}: expected a list with an entry an image, as BDD100K's detection labels are")
        pictures = {}
        for place, entry in enumerate(content):
            name, labels = entry.get("name"), entry.get("labels") or []
            if not isinstance(name, str) or not isinstance(labels, list):
                raise DatasetError(f"{path}: entry {place} has no name or no list of labels; export it again")
            rows = [label for label in labels if isinstance(label, dict) and label.get("box2d")]  # not lanes
            pictures[frame_of(name, f"{path}: entry {place}")] = Picture(name, None, rows)
        categories = {str(row.get("category")) for picture in pictures.values() for row in picture.rows}
        return Listing(path, {name: name for name in sorted(categories)}, pictures)

    def annotation(self, listing: Listing, picture: Picture, row: dict[str, Any]) -> Annotation:
        box, category, attributes = row["box2d"], row.get("category"), row.get("attributes")
        corners: Any = [box.get(corner) for corner in CORNERS] if isinstance(box, dict) else None
        where = f"{listing.path}: label {reprlib.repr(row.get('id'))}"
        if not are_numbers(corners, 4):
            raise DatasetError(f"{where}: box2d is {reprlib.repr(box)}, expected x1, y1, x2 and y2")
        if not isinstance(category, str):
            raise DatasetError(f"{where} has no category; name its class")
        crowd = isinstance(attributes, dict) and attributes.get("crowd") is True
        return Annotation(category, exact(*corners), ignore=crowd)

    def image_folders(self, path: Path, split: str) -> Sequence[Path]:
        root = self.root
        return root / "images" / "100k" / split, root / "images" / split, root / split, root / "images", root


def _split_of(path: Path) -> str:
    """`train` of det_train and of bdd100k_labels_images_train."""
    return next((word for word in path.stem.split("_") if plain_split(word) in ("train", "val", "test")), path.stem)


def is_bdd100k(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_BEGINS.match(file.read(200)))
