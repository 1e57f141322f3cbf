"""The pixels of objects at rest: COCO's compressed run lengths, by pycocotools.

An array holds 0 and 1, uint8 [h, w]. Runs go down the columns, and their bytes are plain text.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from data.annotation import Box, DatasetError, Rle
from data.formats.boxes import are_numbers
from data.images import LONGEST_SIDE

Array = NDArray[np.uint8]
WANTED = 'expected polygons [[x, y, x, y, x, y, ...], ...] or {"size": [height, width], "counts": ...}'


class PackedMasks:
    """Many masks in three flat arrays, which processes share: forked workers would copy small objects page by page."""

    def __init__(self, masks: Sequence[Rle | None]) -> None:
        counts = [b"" if mask is None else mask.counts for mask in masks]
        self._counts = np.frombuffer(b"".join(counts), np.uint8)
        self._ends = np.cumsum([0, *map(len, counts)])
        self._sizes = np.array([(0, 0) if mask is None else mask.size for mask in masks], np.int32).reshape(-1, 2)

    def __getitem__(self, row: int) -> Rle:
        """Without size and runs where there is none."""
        height, width = self._sizes[row].tolist()
        return Rle((height, width), self._counts[self._ends[row] : self._ends[row + 1]].tobytes())


def encode(mask: NDArray[Any]) -> Rle:
    """Anything but 0 in [h, w] belongs to the mask."""
    columns = cv2.transpose((mask != 0).view(np.uint8))  # many times as fast as NumPy's copy
    return _from_dict(coco_mask.encode(columns.T))


def decode(rle: Rle) -> Array:
    """uint8 [h, w], 0 or 1."""
    return decode_all([rle], rle.size)[0]


def decode_all(rles: Sequence[Rle], size: tuple[int, int]) -> Array:
    """uint8 [n, h, w] of masks that all have this (height, width)."""
    masks = np.empty((len(rles), *size), np.uint8)
    for mask, rle in zip(masks, rles, strict=True):
        cv2.transpose(coco_mask.decode(_to_dict(rle)).T, dst=mask)
    return masks


def area(rle: Rle) -> int:
    """Its pixels."""
    return int(coco_mask.area(_to_dict(rle)))


def box_of(rle: Rle) -> Box:
    """The box around its pixels; without area where there are none."""
    x, y, width, height = coco_mask.toBbox(_to_dict(rle)).tolist()
    return x, y, x + width, y + height


def from_box(box: Box, size: tuple[int, int]) -> Rle:
    """The mask that a box [x1, y1, x2, y2] is, cut at the picture."""
    x1, y1, x2, y2 = np.clip(np.array(box, np.float64), 0, (size[1], size[0]) * 2)
    return _from_dict(coco_mask.frPyObjects(np.array([[x1, y1, x2 - x1, y2 - y1]]), *size)[0])


def overlaps(found: Sequence[Rle], objects: Sequence[Rle], crowd: Sequence[bool]) -> NDArray[np.float64]:
    """[n, m] intersection over union; over the area of what was found where the object is a crowd."""
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    shared: NDArray[np.float64] = coco_mask.iou(
        [_to_dict(rle) for rle in found], [_to_dict(rle) for rle in objects], [int(one) for one in crowd]
    )
    return shared


def to_json(rle: Rle) -> dict[str, Any]:
    """As COCO's results and detections.jsonl have it."""
    return {"size": list(rle.size), "counts": rle.counts.decode("ascii")}


def from_json(segmentation: object, size: tuple[int, int] | None, where: str) -> Rle:
    """COCO's `segmentation`, polygons or run lengths, in a picture of (height, width) `size`.

    pycocotools does not check: short runs give pixels of elsewhere, and a number that is none, or far outside, takes
    all memory. What is wrong is said in a DatasetError, which `where` opens.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size, where)
    if not isinstance(segmentation, list) or not segmentation:
        raise DatasetError(f"{where}: segmentation is {reprlib.repr(segmentation)}, {WANTED}")
    if size is None:
        raise DatasetError(f"{where}: polygons of a picture without a size; write its height and width into images")
    height, width = size
    for polygon in segmentation:
        if not isinstance(polygon, list) or not are_numbers(polygon, len(polygon)) or len(polygon) % 2:
            raise DatasetError(f"{where}: segmentation has {reprlib.repr(polygon)}, {WANTED}")
        if len(polygon) < 6:
            raise DatasetError(f"{where}: a polygon of {len(polygon) // 2} points; it takes three, or take it out")
        if not _are_near(polygon[0::2], width) or not _are_near(polygon[1::2], height):
            found = f"a polygon reaches from {min(polygon):g} to {max(polygon):g}"
            raise DatasetError(f"{where}: {found}, the picture is {width} x {height}; correct its points")
    return Rle(size, coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))["counts"])


def overhang(segmentation: object, size: tuple[int, int]) -> float:
    """By how many pixels polygons, whose form `from_json` has found right, reach out of their picture."""
    if not isinstance(segmentation, list):
        return 0.0  # runs cannot
    sides = ((segmentation_part[axis::2], size[1 - axis]) for segmentation_part in segmentation for axis in (0, 1))
    return max(max(-min(values), max(values) - side, 0.0) for values, side in sides)


def _are_near(values: Sequence[float], side: int) -> bool:
    """Within one picture of the picture: pycocotools walks along every edge."""
    return -side <= min(values) and max(values) <= 2 * side


def _from_runs(segmentation: dict[str, Any], size: tuple[int, int] | None, where: str) -> Rle:
    own, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(own, list) or not are_numbers(own, 2) or not all(0 < side <= LONGEST_SIDE for side in own):
        raise DatasetError(f"{where}: the size of its mask is {reprlib.repr(own)}, expected [height, width]")
    height, width = map(int, own)
    if size is not None and (height, width) != size:
        found = f"a mask of {width} x {height} pixels in a picture of {size[1]} x {size[0]}"
        raise DatasetError(f"{where}: {found}; export it again")
    runs, text = counts, None
    if isinstance(counts, str):
        text = counts.encode("ascii", "replace")
        runs = _runs(text)
    if not isinstance(runs, list) or not all(isinstance(run, int) and 0 <= run <= height * width for run in runs):
        raise DatasetError(f"{where}: the counts of its mask are no run lengths; export it again")
    if sum(runs) != height * width:
        found = f"the runs of its mask are {sum(runs):,} pixels long, expected {width} x {height}"
        raise DatasetError(f"{where}: {found}; export it again")
    if text is None:
        return _from_dict(coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width))
    return Rle(size or (height, width), text)


def _runs(counts: bytes) -> list[int] | None:
    """What the text stands for: groups of five bits from the lowest on, 32 says that more come, the 16 of the last is
    the sign; from the fourth on the difference to the last but one. None: no such text."""
    runs: list[int] = []
    value = shift = 0
    for letter in counts:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return None if shift else runs


def _to_dict(rle: Rle) -> dict[str, Any]:
    return {"size": rle.size, "counts": rle.counts}


def _from_dict(found: dict[str, Any]) -> Rle:
    height, width = found["size"]
    return Rle((int(height), int(width)), found["counts"])
