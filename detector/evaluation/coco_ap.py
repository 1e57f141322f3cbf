"""COCO detection numbers through pycocotools, the reference implementation.

An object is an annotation with the area that its file says, or that of its box; a region to ignore is a crowd
annotation of its class, or of every class if it is of none, so that it absorbs any number of detections that lie in it.
Occlusion, truncation and height are not used. The same numbers of masks: "segm" in pycocotools' words.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from detector.evaluation.columns import Columns
from detector.evaluation.matching import FloatArray

STATS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


@dataclass(frozen=True, slots=True)
class CocoNumbers:
    """Fractions; -1 where there is no object to find. per_class: AP (IoU .50:.95), AP50, n_gt."""

    stats: dict[str, float]
    per_class: dict[str, dict[str, float]]

    @property
    def mAP50(self) -> float:
        """Mean AP50 of the classes that have objects; 0 if none has."""
        present = [numbers["AP50"] for numbers in self.per_class.values() if numbers["n_gt"]]
        return float(np.mean(present)) if present else 0.0


Kind = Literal["bbox", "segm"]  # what is compared; for segm, everything has a mask


class CocoEvaluator(Protocol):
    def __call__(
        self, ground_truth: Columns, detections: Columns, classes: Sequence[str], kind: Kind = "bbox"
    ) -> CocoNumbers: ...


def evaluate_coco(
    ground_truth: Columns, detections: Columns, classes: Sequence[str], kind: Kind = "bbox"
) -> CocoNumbers:
    """The twelve numbers over `classes` and those of each class. Objects of other classes are background."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        truth, results = COCO(), COCO()
        truth.dataset, results.dataset = _datasets(ground_truth, detections, classes, kind)
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = dict(zip(STATS, map(float, evaluation.stats), strict=True))
    return CocoNumbers(stats, per_class(evaluation.eval["precision"][:, :, :, 0, 2], ground_truth, classes))


def per_class(precision: FloatArray, ground_truth: Columns, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """AP, AP50 and objects of each class from the precision [IoU, recall, class]; -1 for a class without objects."""
    return {
        name: {
            "AP": mean_of_defined(precision[:, :, k]),
            "AP50": mean_of_defined(precision[0, :, k]),
            "n_gt": int(ground_truth.named(name).sum()),
        }
        for k, name in enumerate(classes)
    }


def mean_of_defined(values: FloatArray) -> float:
    """Mean of the values above -1; -1 if there is none."""
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else -1.0


def _datasets(
    ground_truth: Columns, detections: Columns, classes: Sequence[str], kind: Kind
) -> tuple[dict[str, Any], dict[str, Any]]:
    categories = {name: category for category, name in enumerate(classes, 1)}
    shell = {
        "info": {},
        # runs have a size of their own, but pycocotools looks here first
        "images": [{"id": index, "height": 0, "width": 0} for index in range(len(ground_truth.frames))],
        "categories": [{"id": category, "name": name} for name, category in categories.items()],
    }
    objects: list[dict[str, Any]] = []
    for image, name, _, place in _rows(ground_truth, kind):
        of_all = list(categories.values()) if place["iscrowd"] else []
        meant = [categories[name]] if name in categories else of_all
        objects.extend({"image_id": image, "category_id": category, **place} for category in meant)
    found = [
        {"image_id": image, "category_id": categories[name], "score": score, **place}
        for image, name, score, place in _rows(detections, kind)
        if name in categories
    ]
    for numbered in (objects, found):
        for number, annotation in enumerate(numbered, 1):  # pycocotools takes a match with id 0 for no match
            annotation["id"] = number
    return {**shell, "annotations": objects}, {**shell, "annotations": found}


def _rows(columns: Columns, kind: Kind) -> Iterator[tuple[int, str, float, dict[str, Any]]]:
    """Of each its image, class name, score, and where it is, in COCO's words."""
    x1, y1, x2, y2 = columns.boxes.T
    sides = np.stack((x1, y1, x2 - x1, y2 - y1), axis=1)
    segmentations = [None] * len(columns) if kind == "bbox" or columns.masks is None else columns.masks
    for image, code, score, bbox, ignore, area, mask in zip(
        columns.frame.tolist(),
        columns.name.tolist(),
        columns.scores.tolist(),
        sides.tolist(),
        columns.ignore.tolist(),
        areas(columns, kind).tolist(),
        segmentations,
        strict=True,
    ):
        place = {"bbox": bbox, "area": area, "iscrowd": int(ignore)}
        if mask is not None:
            place["segmentation"] = {"size": mask.size, "counts": mask.counts}
        yield image, columns.names[code], score, place


def areas(columns: Columns, kind: Kind) -> FloatArray:
    """[n] What the file says; of what it says nothing about, those of boxes or of masks."""
    if kind == "bbox" or columns.masks is None:
        own = (columns.boxes[:, 2] - columns.boxes[:, 0]) * (columns.boxes[:, 3] - columns.boxes[:, 1])
    else:
        from data.masks import area as mask_area  # late: it takes libraries that boxes need not wait for

        own = np.array([mask_area(mask) for mask in columns.masks], np.float64)
    return np.where(np.isnan(columns.area), own, columns.area)
