"""Whether masks can be compared, and the ground truth made ready for it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from data.annotation import Rle
from detector.evaluation.columns import Columns


def with_masks(ground_truth: Columns, detections: Columns) -> Columns | None:
    """The ground truth with a mask for everything: the box where an object or a region has no other. None where either
    side has no masks; no detections at all have nothing against it."""
    found = [None] * len(detections) if detections.masks is None else detections.masks.tolist()
    if ground_truth.masks is None or not all(found):
        return None
    from data.masks import from_box

    there = ground_truth.masks.tolist()
    both = zip((*ground_truth.frame.tolist(), *detections.frame.tolist()), (*there, *found), strict=True)
    size_of = {frame: mask.size for frame, mask in both if mask is not None}

    def boxed(frame: int, box: tuple[float, float, float, float]) -> Rle:
        nothing_found = max(1, math.ceil(box[3])), max(1, math.ceil(box[2]))
        return from_box(box, size_of.get(frame, nothing_found))

    rows = zip(ground_truth.frame.tolist(), ground_truth.boxes.tolist(), there, strict=True)
    return replace(ground_truth, masks=np.array([mask or boxed(frame, box) for frame, box, mask in rows], np.object_))
