"""COCO detection numbers through pycocotools, the reference implementation.

An object is an annotation with its own box area; a region to ignore is a crowd annotation of its class, or of every
class if it is of none, so that it absorbs any number of detections that lie in it. Occlusion, truncation and height are
not used.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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


CocoEvaluator = Callable[[Columns, Columns, Sequence[str]], CocoNumbers]


def evaluate_coco(ground_truth: Columns, detections: Columns, classes: Sequence[str]) -> CocoNumbers:
    """The twelve numbers over `classes` and those of each class. Objects of other classes are background."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        truth, results = COCO(), COCO()
        truth.dataset, results.dataset = _datasets(ground_truth, detections, classes)
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
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
    ground_truth: Columns, detections: Columns, classes: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    categories = {name: category for category, name in enumerate(classes, 1)}
    shell = {
        "info": {},
        "images": [{"id": index} for index in range(len(ground_truth.frames))],
        "categories": [{"id": category, "name": name} for name, category in categories.items()],
    }
    objects: list[dict[str, Any]] = []
    for image, name, box, _, ignore in _rows(ground_truth):
        if name in categories:
            objects.append(_annotation(image, categories[name], box, iscrowd=int(ignore)))
        elif ignore:
            objects.extend(_annotation(image, category, box, iscrowd=1) for category in categories.values())
    found = [
        {**_annotation(image, categories[name], box, iscrowd=0), "score": score}
        for image, name, box, score, _ in _rows(detections)
        if name in categories
    ]
    for numbered in (objects, found):
        for number, annotation in enumerate(numbered, 1):  # pycocotools takes a match with id 0 for no match
            annotation["id"] = number
    return {**shell, "annotations": objects}, {**shell, "annotations": found}


def _rows(columns: Columns) -> Iterator[tuple[int, str, list[float], float, bool]]:
    names = [columns.names[code] for code in columns.name.tolist()]
    rest = columns.boxes.tolist(), columns.scores.tolist(), columns.ignore.tolist()
    return zip(columns.frame.tolist(), names, *rest, strict=True)


def _annotation(image: int, category: int, box: list[float], iscrowd: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, width, height],
        "area": width * height,
        "iscrowd": iscrowd,
    }
