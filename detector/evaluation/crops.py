"""The most costly misses and false positives, cut out of their images with the boxes drawn in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.images import read_image
from detector.evaluation.columns import Columns
from detector.evaluation.errors import BACKGROUND, CLASS, CORRECT, DUPLICATE, KINDS, LOCALISATION, Diagnosis
from detector.evaluation.matching import FloatArray, heights

SIZE = (300, 400)  # height, width of a picture
AROUND = 2.2  # a picture shows this many times the box
TRUE_COLOUR, FALSE_COLOUR, OTHER_COLOUR = (64, 220, 120), (255, 90, 60), (170, 190, 210)  # RGB

ImageOf = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One error: where, what it is, and its box. `picture` is RGB [h, w, 3], or None without an image."""

    frame: str
    text: str
    box: FloatArray
    picture: np.ndarray | None


def costly_misses(diagnosis: Diagnosis, image_of: ImageOf, count: int) -> list[Case]:
    """Missed objects, those first that are easiest to see: least occluded, then highest."""
    objects = diagnosis.objects
    rows = np.flatnonzero(diagnosis.missed)
    rows = rows[np.lexsort((-heights(objects)[rows], objects.occlusion[rows]))][:count]
    cases = []
    for row in rows.tolist():
        name, box = objects.names[objects.name[row]], objects.boxes[row]
        text = f"{name}, {box[3] - box[1]:.0f} px high, occlusion {objects.occlusion[row]:.0f}"
        cases.append(_case(diagnosis, objects.frames[objects.frame[row]], text, box, None, image_of))
    return cases


def costly_false_positives(diagnosis: Diagnosis, image_of: ImageOf, count: int) -> list[Case]:
    """Wrong detections, those with the highest scores first: they lower precision at every recall."""
    detections = diagnosis.detections
    rows = np.flatnonzero(np.isin(diagnosis.kind, (BACKGROUND, CLASS, DUPLICATE, LOCALISATION)))
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")][:count]
    cases = []
    for row in rows.tolist():
        name, kind = detections.names[detections.name[row]], KINDS[diagnosis.kind[row]]
        about = diagnosis.object[row]
        if diagnosis.kind[row] == CLASS:
            kind = f"is a {diagnosis.objects.names[diagnosis.objects.name[about]]}"
        text = f"{name} {detections.scores[row]:.2f}: {kind}"
        box = detections.boxes[row]
        cases.append(_case(diagnosis, detections.frames[detections.frame[row]], text, box, row, image_of))
    return cases


def _case(
    diagnosis: Diagnosis, frame: str, text: str, box: FloatArray, detection: int | None, image_of: ImageOf
) -> Case:
    path = image_of(frame)
    if path is None:
        return Case(frame, text, box, None)
    image = read_image(path)
    picture, scale, corner = _cut(image, box)
    index = diagnosis.detections.frames.index(frame)
    right = diagnosis.kind == CORRECT
    # Neighbours thinly, so that the case itself stands out: objects, right detections, and last the case.
    _draw(picture, _in_frame(diagnosis.objects, index), scale, corner, TRUE_COLOUR, 1)
    _draw(picture, _in_frame(diagnosis.detections.select(right), index), scale, corner, OTHER_COLOUR, 1)
    _draw(picture, box[None], scale, corner, TRUE_COLOUR if detection is None else FALSE_COLOUR, 2)
    return Case(frame, text, box, picture)


def _in_frame(columns: Columns, index: int) -> FloatArray:
    return columns.boxes[columns.frame == index]


def _cut(image: np.ndarray, box: FloatArray) -> tuple[np.ndarray, float, FloatArray]:
    """The surroundings of `box` at SIZE, with the scale and the top left corner [2] in the image."""
    height, width = SIZE
    size = np.maximum(box[2:] - box[:2], 1.0)
    fitting = np.min(np.array([width, height]) / size)
    # Closer than AROUND if the view would be larger than the image, as long as the whole box is in it.
    covering = max(width / image.shape[1], height / image.shape[0])
    scale = float(max(min(fitting / AROUND, 6.0), min(fitting / 1.1, covering)))
    corner = (box[:2] + box[2:]) / 2 - np.array([width, height]) / (2 * scale)
    # Move the view inside the image where it is large enough; what lies outside is grey.
    limit = np.array([image.shape[1], image.shape[0]]) - np.array([width, height]) / scale
    corner = np.where(limit > 0, np.clip(corner, 0, np.maximum(limit, 0)), limit / 2)
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.warpAffine(image, matrix, (width, height), flags=smooth, borderValue=(114, 114, 114))
    return picture, scale, corner


def _draw(
    picture: np.ndarray,
    boxes: FloatArray,
    scale: float,
    corner: FloatArray,
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    corners = np.rint((boxes.reshape(-1, 2, 2) - corner) * scale).clip(-1e6, 1e6)  # OpenCV counts in 32 bits
    for x1, y1, x2, y2 in corners.astype(int).reshape(-1, 4).tolist():
        if thickness > 1:
            cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
