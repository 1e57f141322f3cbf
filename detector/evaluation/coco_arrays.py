"""The numbers of coco_ap.py without pycocotools' loops: the same arithmetic in the same order, all images in lock step.

Per class and image the detections, best score first, take the free object of highest IoU, if it is not below the
threshold; an object outside the area range, or a crowd, only if there is no other; a crowd is never used up
(T.-Y. Lin et al., "Microsoft COCO", ECCV 2014; pycocotools.cocoeval).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.evaluation.coco_ap import STATS, CocoNumbers, Kind, areas, mean_of_defined, per_class
from detector.evaluation.columns import Columns
from detector.evaluation.matching import (
    BoolArray,
    FloatArray,
    IntArray,
    Pairs,
    first_of_run,
    ranges,
    take_in_turn,
    turns,
)

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large
DETECTIONS_PER_IMAGE = (1, 10, 100)


def evaluate_coco(
    ground_truth: Columns, detections: Columns, classes: Sequence[str], kind: Kind = "bbox"
) -> CocoNumbers:
    """As coco_ap.evaluate_coco."""
    shape = (len(classes), len(AREAS), len(DETECTIONS_PER_IMAGE))
    precision = -np.ones((len(IOUS), len(RECALLS), *shape))
    recall = -np.ones((len(IOUS), *shape))
    for k, name in enumerate(classes):
        one_class = _OneClass(ground_truth, detections, name, classes, kind)
        for a, (smallest, largest) in enumerate(AREAS):
            outcome = one_class.match(smallest, largest)
            if outcome.n_gt:
                for m, most in enumerate(DETECTIONS_PER_IMAGE):
                    precision[:, :, k, a, m], recall[:, k, a, m] = outcome.curves(most)
    ap = [precision[..., 0, 2], precision[0, :, :, 0, 2], precision[5, :, :, 0, 2]]
    ap += [precision[..., a, 2] for a in (1, 2, 3)]
    ar = [recall[..., 0, m] for m in (0, 1, 2)] + [recall[..., a, 2] for a in (1, 2, 3)]
    stats = dict(zip(STATS, map(mean_of_defined, ap + ar), strict=True))
    return CocoNumbers(stats, per_class(precision[..., 0, 2], ground_truth, classes))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One class in one area range. Detections [n] by frame, best first; rank is their place in the frame."""

    scores: FloatArray
    rank: IntArray
    right: BoolArray  # [IoU, n]
    ignored: BoolArray  # [IoU, n]
    n_gt: int

    def curves(self, most: int) -> tuple[FloatArray, FloatArray]:
        """Precision [IoU, recall] at 101 recalls and the final recall [IoU], of at most `most` detections an image."""
        rows = np.flatnonzero(self.rank < most)
        rows = rows[np.argsort(-self.scores[rows], kind="stable")]
        right, ignored = self.right[:, rows], self.ignored[:, rows]
        tp = np.cumsum(right & ~ignored, axis=1).astype(np.float64)
        fp = np.cumsum(~right & ~ignored, axis=1).astype(np.float64)
        recall = tp / self.n_gt
        precision = tp / (fp + tp + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.append(envelope, np.zeros((len(IOUS), 1)), axis=1)  # beyond the last recall reached
        reached = [np.searchsorted(recalls, RECALLS, side="left") for recalls in recall]
        final = recall[:, -1] if len(rows) else np.zeros(len(IOUS))
        return np.take_along_axis(envelope, np.array(reached), axis=1), final


class _OneClass:
    """Objects, crowds and detections of one class with their overlaps, ready to be matched for any area range."""

    def __init__(
        self, ground_truth: Columns, detections: Columns, name: str, classes: Sequence[str], kind: Kind
    ) -> None:
        objects = ground_truth.select(ground_truth.named(name) | ground_truth.regions(name, classes))
        detections = detections.select(detections.named(name))
        detections = detections.select(np.lexsort((-detections.scores, detections.frame)))
        rank = np.arange(len(detections)) - np.searchsorted(detections.frame, detections.frame, side="left")
        kept = rank < DETECTIONS_PER_IMAGE[-1]
        detections, self.rank = detections.select(kept), rank[kept]
        self.frame, self.scores = detections.frame, detections.scores
        self.crowd = objects.ignore
        self.object_area, self.area = areas(objects, kind), areas(detections, kind)
        first = np.searchsorted(objects.frame, detections.frame, side="left")
        count = np.searchsorted(objects.frame, detections.frame, side="right") - first
        d, o = ranges(first, count)
        if kind == "bbox":
            overlap = _iou(_xywh(detections)[:, d], _xywh(objects)[:, o], self.crowd[o])
        else:
            overlap = _mask_iou(objects, detections)
        self.pairs = Pairs(o, d, overlap).select(overlap >= IOUS[0])

    def match(self, smallest: float, largest: float) -> _Outcome:
        outside = (self.object_area < smallest) | (self.object_area > largest)
        set_aside = self.crowd | outside
        # Preference of a detection: counted objects first, then by IoU, the last in file on a tie.
        pairs = self.pairs
        pairs = pairs.select(np.lexsort((-pairs.object, -pairs.overlap, set_aside[pairs.object], pairs.detection)))
        first = np.flatnonzero(first_of_run(pairs.detection))
        count = np.diff(np.append(first, len(pairs)))
        # A taker is a detection at one IoU threshold, a thing an object at one threshold.
        n_ious = len(IOUS)
        taker, row = ranges(np.repeat(first, n_ious), np.repeat(count, n_ious))
        iou = taker % n_ious
        enough = pairs.overlap[row] >= IOUS[iou]
        taker, row, iou = taker[enough], row[enough], iou[enough]
        thing = np.where(
            self.crowd[pairs.object[row]],
            len(self.crowd) * n_ious + np.arange(len(row)),  # a crowd is a new thing for everybody
            pairs.object[row] * n_ious + iou,
        )
        rounds = turns(self.frame, pairs.detection)[row]
        chosen = take_in_turn(taker, thing, rounds, len(self.crowd) * n_ious + len(row))
        detection, iou, object_ = pairs.detection[row[chosen]], iou[chosen], pairs.object[row[chosen]]
        right = np.zeros((n_ious, len(self.frame)), np.bool_)
        right[iou, detection] = True
        ignored = ~right & ((self.area < smallest) | (self.area > largest))
        ignored[iou, detection] = set_aside[object_]
        return _Outcome(self.scores, self.rank, right, ignored, int((~set_aside).sum()))


def _xywh(columns: Columns) -> FloatArray:
    """[4, n] x, y, width, height: pycocotools computes on these, so overlaps are rounded as there."""
    x1, y1, x2, y2 = columns.boxes.T
    return np.stack((x1, y1, x2 - x1, y2 - y1))


def _iou(a: FloatArray, b: FloatArray, crowd: BoolArray) -> FloatArray:
    """[p] Intersection over union of boxes [4, p]; over the area of `a` where `b` is a crowd."""
    width = np.minimum(a[0] + a[2], b[0] + b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[1] + a[3], b[1] + b[3]) - np.maximum(a[1], b[1])
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    area = a[2] * a[3]
    whole = np.where(crowd, area, area + b[2] * b[3] - shared)
    return np.divide(shared, whole, out=np.zeros(len(shared)), where=shared > 0)


def _mask_iou(objects: Columns, detections: Columns) -> FloatArray:
    """[p] The same of masks, for each detection with all objects of its frame."""
    if objects.masks is None or detections.masks is None:
        return np.zeros(0)
    from data.masks import overlaps

    of_frames = [np.zeros(0)]
    for frame in np.unique(detections.frame).tolist():
        o, d = (slice(*np.searchsorted(columns.frame, (frame, frame + 1))) for columns in (objects, detections))
        found, there, crowd = detections.masks[d].tolist(), objects.masks[o].tolist(), objects.ignore[o].tolist()
        of_frames.append(overlaps(found, there, crowd).ravel())
    return np.concatenate(of_frames)
