"""COCO's files: one JSON a split with images, annotations and categories; images beside it or in a folder of the split.

ROOT/annotations/instances_train.json, ROOT/train/000000.jpg           as COCO has it; ROOT/images/train/ will do too
ROOT/train/_annotations.coco.json, ROOT/train/000000.jpg               as Roboflow writes it

A crowd is a region to ignore. `truncation` and `occlusion` beside a bbox are KITTI's, kept by data.convert. Masks are
most of a file: they are read where they are asked for, and kept as run lengths.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data import masks
from data.annotation import Annotation, Box, DatasetError, Problem, Rle
from data.formats.boxes import are_numbers, exact
from data.formats.classes import unique_names
from data.formats.kitti import DONT_CARE
from data.formats.listed import ListedSource, Listing, Picture, frame_of, read_json
from data.images import LONGEST_SIDE
from system.files import write_text

ROBOFLOW = "_annotations.coco.json"
PREFIX = "instances_"
OTHERS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")  # of COCO, and without boxes to learn
TOLERANCE = 1.0  # pixels that a polygon may reach out of its picture
WANTED = "a COCO file has lists of images, annotations and categories"
_BEGINS = re.compile(rb'\s*\{\s*"(info|licenses|images|annotations|categories)"')


class CocoSource(ListedSource):
    kind = "coco"

    def __init__(self, root: str | Path, *, masks: bool = False) -> None:
        super().__init__(root)
        self._reads_masks = masks

    @classmethod
    def find(cls, root: Path) -> tuple[Path, dict[str, Path]]:
        if root.is_file():
            return (root.parent.parent if root.parent.name == "annotations" else root.parent), {_split_of(root): root}
        loose = [*sorted(root.glob("annotations/*.json")), *sorted(root.glob("*.json"))]
        named = [path for path in loose if path.name.startswith(PREFIX)]
        files = [*(named or filter(is_coco, loose)), *sorted(root.glob(f"*/{ROBOFLOW}"))]
        return root, {_split_of(path): path for path in files}

    def read(self, path: Path) -> Listing:
        content = read_json(path)
        images, annotations, categories = (_list(content, key, path) for key in ("images", "annotations", "categories"))
        names = dict(zip(_ids(categories, "category", path), _names(categories, path), strict=True))
        picture_of: dict[object, Picture] = {}
        pictures: dict[str, Picture] = {}
        problems: list[Problem] = []
        for number, image in zip(_ids(images, "image", path), images, strict=True):
            where = f"{path}: image {_shown(image, 'id')}"
            picture = picture_of[number] = _picture(image, where)
            frame = frame_of(picture.file, where)
            if frame in pictures:
                frame = picture.file  # a.jpg and a.png
            if frame in pictures:
                found = f"image {_shown(image, 'id')}: {picture.file}"
                problems.append(Problem("image listed twice", path.name, None, found))
            pictures[frame] = picture
        for row in annotations:
            picture = picture_of.get(_id(row, "image_id"))  # type: ignore[assignment]
            if picture is None:
                found = f"annotation {_shown(row, 'id')} names image {_shown(row, 'image_id')}, which is not listed"
                problems.append(Problem("annotation without an image", path.name, None, f"{found}; it is left out"))
            else:
                if not self._reads_masks:
                    row.pop("segmentation", None)
                picture.rows.append(row)
        return Listing(path, names, pictures, problems)

    def annotation(self, listing: Listing, picture: Picture, row: dict[str, Any]) -> Annotation:
        where, number = f"{listing.path}: annotation {_shown(row, 'id')}", _id(row, "category_id")
        name: str | None = listing.names.get(number)
        bbox: Any = row.get("bbox")
        if name is None:
            missing = f"names category {_shown(row, 'category_id')}, which is not listed"
            raise DatasetError(f"{where} {missing}; add it to categories")
        if not are_numbers(bbox, 4) or min(bbox[2:]) < 0:
            raise DatasetError(f"{where}: bbox is {reprlib.repr(bbox)}, expected [x, y, width, height]")
        (x, y, width, height), attributes = bbox, (row.get("truncation", -1), row.get("occlusion", -1))
        if not are_numbers(attributes, 2):
            raise DatasetError(f"{where}: truncation and occlusion are {reprlib.repr(attributes)}, expected numbers")
        ignore = name == DONT_CARE or row.get("iscrowd") in (1, True)
        box = exact(x, y, x + width, y + height)
        area = float(row["area"]) if are_numbers([row.get("area")], 1) else None
        mask = _mask(row, picture.size, where)
        return Annotation(name, box, float(attributes[0]), int(attributes[1]), ignore=ignore, area=area, mask=mask)

    def faults(self, listing: Listing, picture: Picture, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        drawn, where = row.get("segmentation"), f"annotation {_shown(row, 'id')}"
        yield from super().faults(listing, picture, row)
        mask = row.get("segmentation")
        if isinstance(mask, Rle):  # it was sound
            if not masks.area(mask):
                yield "mask without a pixel", f"{where}: draw it again, or take the object out"
            if (pixels := masks.overhang(drawn, mask.size)) > TOLERANCE:
                yield "mask outside the image", f"{where}: its polygon reaches {pixels:g} pixels out of the picture"

    def image_folders(self, path: Path, split: str) -> Sequence[Path]:
        root = self.root
        return path.parent, root / split, root / "images" / split, root / "images", root, path.parent / "images"


def is_coco(path: Path) -> bool:
    """By its name or by how it begins: such a file may have hundreds of megabytes."""
    if path.name.startswith((PREFIX, ROBOFLOW)):
        return True
    with path.open("rb") as file:
        return not path.name.startswith(OTHERS) and bool(_BEGINS.match(file.read(200)))


class CocoWriter:
    """ROOT/<split>/<frame>.jpg, and on closing annotations/instances_<split>.json. Regions to ignore are crowds."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self._categories = root, {name: number for number, name in enumerate(names, 1)}
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._objects: dict[str, list[dict[str, Any]]] = {}

    def image_path(self, split: str, frame: str, suffix: str) -> Path:
        return self.root / split / f"{frame}{suffix}"

    def add(self, split: str, image: Path, size: tuple[int, int], annotations: Sequence[Annotation]) -> None:
        images, objects = self._images.setdefault(split, []), self._objects.setdefault(split, [])
        number = len(images) + 1
        images.append({"id": number, "file_name": image.name, "width": size[1], "height": size[0]})
        for annotation in annotations:
            objects.append({"id": len(objects) + 1, "image_id": number, **self._row(annotation)})

    def close(self) -> None:
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        for split, images in self._images.items():
            content = {"images": images, "annotations": self._objects[split], "categories": categories}
            write_text(self.root / "annotations" / f"{PREFIX}{split}.json", json.dumps(content) + "\n")

    def _row(self, annotation: Annotation) -> dict[str, Any]:
        known = {"truncation": annotation.truncation, "occlusion": annotation.occlusion}
        x, y, width, height = _bbox(annotation.box)
        area, mask = annotation.area, annotation.mask
        if area is None:
            area = round(width * height, 4) if mask is None else masks.area(mask)
        return {
            "category_id": self._categories.setdefault(annotation.name, len(self._categories) + 1),
            "bbox": [x, y, width, height],
            "area": area,
            "iscrowd": int(annotation.ignore),
            **({} if mask is None else {"segmentation": masks.to_json(mask)}),
            **{key: value for key, value in known.items() if value != -1},
        }


def _mask(row: dict[str, Any], size: tuple[int, int] | None, where: str) -> Rle | None:
    """The mask of an annotation, which has it as run lengths from then on: lists of numbers take ten times the room."""
    segmentation = row.get("segmentation")
    if not segmentation:
        return None
    if not isinstance(segmentation, Rle):
        segmentation = row["segmentation"] = masks.from_json(segmentation, size, where)
    return segmentation


def _bbox(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return exact(x1, y1, x2 - x1, y2 - y1)


def _split_of(path: Path) -> str:
    return path.parent.name if path.name == ROBOFLOW else path.stem.removeprefix(PREFIX)


def _list(content: object, key: str, path: Path) -> list[dict[str, Any]]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DatasetError(f"{path}: no list of {key} in it; {WANTED}")
    return found


def _id(entry: Mapping[str, Any], key: str) -> int | str | None:
    value = entry.get(key)
    return value if isinstance(value, (int, str)) else None


def _shown(entry: Mapping[str, Any], key: str) -> str:
    """A number or name of a stranger's file, for messages."""
    return reprlib.repr(_id(entry, key))


def _ids(entries: Sequence[Mapping[str, Any]], what: str, path: Path) -> Iterator[int | str]:
    seen: set[int | str] = set()
    for place, entry in enumerate(entries):
        number = _id(entry, "id")
        if number is None or number in seen:
            found = "no id" if number is None else f"id {_shown(entry, 'id')}, as another has"
            raise DatasetError(f"{path}: {what} {place} of its list has {found}; give each an id of its own")
        seen.add(number)
        yield number


def _names(categories: Sequence[Mapping[str, Any]], path: Path) -> tuple[str, ...]:
    if not categories:
        raise DatasetError(f"{path}: its list of categories is empty; {WANTED}")
    return unique_names([category.get("name") for category in categories], f"{path}: categories")


def _picture(image: Mapping[str, Any], where: str) -> Picture:
    file, size = image.get("file_name"), (image.get("height"), image.get("width"))
    if not isinstance(file, str):
        raise DatasetError(f"{where} has no file_name; name its file")
    known = all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in size)
    return Picture(file.replace("\\", "/"), size if known else None, [])  # type: ignore[arg-type]
