"""Several views of one image, and how what is found in them becomes one answer. Torch-free.

At half the size a network sees near objects as its training showed them; a mirror turns one-sided errors round. What is
seen in every view is likelier to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.inference.backend import Backend
from detector.inference.detections import Detections
from detector.inference.suppression import LIMIT, apart, overlaps
from detector.inference.thresholds import Threshold, of_labels
from detector.inference.views import HALF, MIRROR, check_views

FAINT = 0.1  # of a threshold: what one view scores so low may count where another is surer
FAINTEST = 0.001


class View(NamedTuple):
    """A network at some input size, and whether it sees images mirrored."""

    backend: Backend
    mirrored: bool


def views_of(backend: Backend, names: Sequence[str]) -> tuple[View, ...]:
    """The plain view first, then one for each of `names`; with both of them the mirrored half too."""
    check_views(names)
    if names and not backend.fuses:
        raise ValueError("--views: several views do not go together with masks, or with suppression in the graph")
    backends = (backend, backend.at_half()) if HALF in names else (backend,)
    mirrored = (False, True) if MIRROR in names else (False,)
    return tuple(View(*view) for view in product(backends, mirrored))


def threshold_of_one(conf: Threshold) -> Threshold:
    """What one of several views has to score; no lower than FAINTEST, unless that is what was asked for."""
    low: Threshold = np.maximum(conf * FAINT, np.minimum(conf, FAINTEST))
    return low


def unmirrored(found: Detections, width: int) -> Detections:
    """Boxes found in a mirrored image of this width, in the image as it is."""
    x1, y1, x2, y2 = found.boxes.T
    return replace(found, boxes=np.stack([width - x2, y1, width - x1, y2], axis=1))


def join(views: Sequence[Detections], conf: Threshold, iou: float) -> Detections:
    """Boxes of one class in different views that overlap by more than `iou` are one object. Its score is the mean over
    all views, where those that do not see it count as 0; its box is their mean, weighted by score. Best first."""
    boxes, scores, labels = (
        np.concatenate([getattr(found, part) for found in views]) for part in ("boxes", "scores", "labels")
    )
    view = np.repeat(np.arange(len(views)), [len(found) for found in views])
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels, view = boxes[order], scores[order], labels[order], view[order]
    rows = _objects(boxes, labels, view, len(views), iou)
    weights = np.where(rows >= 0, scores[rows], 0)
    means, classes = weights.sum(1) / len(views), labels[rows.max(1)]
    joined = np.einsum("mv,mvk->mk", weights, boxes[rows]) / weights.sum(1, keepdims=True)
    order = np.argsort(-means, kind="stable")
    order = order[means[order] > of_labels(conf, classes[order])][:LIMIT]
    joined, means, classes = joined[order].astype(np.float32), means[order].astype(np.float32), classes[order]
    alone = apart(joined, classes, iou)
    return Detections(joined[alone], means[alone], classes[alone])


def _objects(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], view: NDArray[np.intp], views: int, iou: float
) -> NDArray[np.intp]:
    """[m, views]: for each object, the row of its box in each view, -1 where it is not seen. Rows come best first; the
    best free one takes from every other view the free one that overlaps it most."""
    shared = overlaps(boxes)
    near = (shared > iou) & (labels[:, None] == labels) & (view[:, None] != view)
    free = np.ones(len(boxes), np.bool_)
    objects = []
    for row in range(len(boxes)):
        if not free[row]:
            continue
        rows = np.full(views, -1)
        rows[view[row]] = row
        for other in np.flatnonzero(near[row] & free):
            best = rows[view[other]]
            if best < 0 or shared[row, other] > shared[row, best]:
                rows[view[other]] = other
        free[rows[rows >= 0]] = False
        objects.append(rows)
    return np.array(objects, np.intp).reshape(-1, views)
