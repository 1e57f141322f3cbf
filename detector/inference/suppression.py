"""Decoded outputs of an exported graph to Detections, in NumPy.

torch is left out on purpose: a program that runs an exported file starts in a second instead of six, and needs no
torch at all. The rules, candidates and results are those of network/postprocess.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.detections import Detections

CANDIDATES = 3000  # pairs that reach suppression in one image; its cost grows with their square
_BLOCK = 256  # candidates judged at once


def select(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    geometries: Sequence[Geometry],
    conf: float,
    iou: float,
    max_detections: int = 300,
    candidates: int = CANDIDATES,
) -> list[Detections]:
    """boxes [B, N, 4] xyxy px of the network input, scores [B, N, K] -> detections in pixels of the B originals."""
    return [
        _select_one(*image, geometry, conf, iou, max_detections, candidates)
        for image, geometry in zip(zip(boxes, scores, strict=True), geometries, strict=True)
    ]


def _select_one(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    geometry: Geometry,
    conf: float,
    iou: float,
    max_detections: int,
    candidates: int,
) -> Detections:
    pairs = np.flatnonzero(scores > conf)
    score = scores.ravel()[pairs]
    if len(pairs) > candidates:
        best = np.argpartition(score, -candidates)[-candidates:]
        pairs, score = pairs[best], score[best]
    order = np.argsort(-score, kind="stable")
    row, label = np.divmod(pairs[order], scores.shape[1])
    kept = suppress(boxes[row], label, iou, max_detections)
    score = score[order]
    box, score, label = averaged(boxes[row], score, label, kept, iou), score[kept], label[kept]
    kept = suppress(box, label, iou, max_detections)  # averages may have moved together
    height, width = geometry.source
    original = geometry.invert(box[kept]).clip(0, [width, height, width, height])
    return Detections(original.astype(np.float32), score[kept].astype(np.float32), label[kept].astype(np.int64))


def suppress(boxes: NDArray[np.float32], labels: NDArray[np.intp], iou: float, limit: int) -> NDArray[np.intp]:
    """Greedy suppression within each class: rows of boxes [n, 4], best first, that overlap no better kept one by more
    than `iou`; at most `limit`. In blocks, so that it ends early once enough are kept.
    """
    rows = np.arange(len(boxes))
    kept = rows[:0]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        block = block[~_clash(boxes, labels, block, kept, iou).any(1)]
        clash = _clash(boxes, labels, block, block, iou)
        alive = np.ones(len(block), bool)
        for k in range(len(block)):
            if alive[k]:
                alive[k + 1 :] &= ~clash[k, k + 1 :]
        kept = np.concatenate((kept, block[alive]))
        if len(kept) >= limit:
            break
    return kept[:limit]


def averaged(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.intp],
    kept: NDArray[np.intp],
    iou: float,
) -> NDArray[np.float32]:
    """Boxes [k, 4] of rows `kept`, best first: each the mean of itself and of the boxes of its class that fall to it
    (they overlap it by more than `iou`, and none better), weighted by score and overlap.
    """
    overlap = _overlap(boxes[kept], boxes)  # [k, n]
    claims = (overlap > iou) & (labels[kept, None] == labels)
    claims &= claims.cumsum(0) == 1  # the first claim wins
    weight = np.where(claims, scores * overlap, 0)
    weight[np.arange(len(kept)), kept] = scores[kept]  # itself, also where it has no area
    return ((weight / weight.sum(1, keepdims=True)) @ boxes).astype(np.float32)


def _clash(
    boxes: NDArray[np.float32],
    labels: NDArray[np.intp],
    some: NDArray[np.intp],
    others: NDArray[np.intp],
    iou: float,
) -> NDArray[np.bool_]:
    """[some, others]: same class, and IoU above the threshold."""
    return (_overlap(boxes[some], boxes[others]) > iou) & (labels[some][:, None] == labels[others])


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes a [n, 4] and b [m, 4] -> [n, m]; nan where neither has an area."""
    a, b = a[:, None], b[None]
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    common = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return common / (area_a + area_b - common)
