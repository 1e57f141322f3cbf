"""Many boxes an object to one: the only rule of suppression, for every backend. NumPy, as exported files need no torch.

Greedy, best score first, within each class: a box that is kept takes those of its class that overlap it by more than
`iou` and that no better one has taken. With `average` it becomes their average, weighted by score and overlap, so their
errors cancel in part: with a dozen predictions an object, all of them trained to be right, the best-scored one is
seldom the best-placed. Averages may move together, so what then overlaps a better one by more than `iou` goes too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
CANDIDATES = 3000  # boxes that are looked at in one image, the best; more would only cost time
LIMIT = 300  # boxes that are kept


def suppress(
    boxes: Boxes,
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    iou: float,
    limit: int = LIMIT,
    candidates: int = CANDIDATES,
    average: bool = True,
) -> tuple[Boxes, NDArray[np.float32], NDArray[np.int64]]:
    """boxes [n, 4] xyxy, scores [n] and labels [n] in any order -> those that are kept, best first."""
    if len(scores) > candidates:
        best = np.argpartition(scores, -candidates)[-candidates:]
        boxes, scores, labels = boxes[best], scores[best], labels[best]
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept, averages = _take_in_turn(boxes, scores, labels, iou, limit)
    scores, labels = scores[kept], labels[kept]
    if not average:
        return boxes[kept], scores, labels
    alone = apart(averages, labels, iou)
    return averages[alone], scores[alone], labels[alone]


def _take_in_turn(
    boxes: Boxes, scores: NDArray[np.float32], labels: NDArray[np.int64], iou: float, limit: int
) -> tuple[list[int], Boxes]:
    """Rows that are kept, of boxes best first, and the average that each becomes."""
    by_class = np.argsort(labels, kind="stable")  # a class lies in one piece, best first: a row looks at few others
    place = np.empty_like(by_class)
    place[by_class] = np.arange(len(by_class))
    ends = np.searchsorted(labels[by_class], labels, side="right").tolist()
    grouped, score = boxes[by_class], scores[by_class]
    sides, area = np.ascontiguousarray(grouped.T), _areas(grouped)
    free = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    averages: list[Boxes] = []
    for row, (at, end) in enumerate(zip(place.tolist(), ends, strict=True)):
        if not free[at]:
            continue
        rest = slice(at + 1, end)
        overlap = _overlap(sides[:, at], area[at], sides[:, rest], area[rest])
        taken = np.flatnonzero((overlap > iou) & free[rest])
        kept.append(row)
        if len(taken):
            weight = np.concatenate((score[at : at + 1], score[rest][taken] * overlap[taken]))
            heap = np.concatenate((grouped[at : at + 1], grouped[rest][taken]))
            averages.append((weight / weight.sum()) @ heap)
            free[rest][taken] = False
        else:
            averages.append(grouped[at])
        if len(kept) == limit:
            break
    return kept, np.array(averages, np.float32).reshape(-1, 4)


def apart(boxes: Boxes, labels: NDArray[np.int64], iou: float) -> NDArray[np.bool_]:
    """Of boxes best first, those that overlap no better one that stays, of their class, by more than `iou`."""
    clash = overlaps(boxes) > iou
    clash &= labels[:, None] == labels
    alone = np.ones(len(boxes), np.bool_)
    for row in np.flatnonzero(np.triu(clash, 1).any(1)):
        if alone[row]:
            alone[row + 1 :] &= ~clash[row, row + 1 :]
    return alone


def overlaps(boxes: Boxes) -> NDArray[np.float32]:
    """[n, n] IoU of each with each."""
    sides, area = boxes.T, _areas(boxes)
    return _overlap(sides[:, :, None], area[:, None], sides[:, None], area)


def _areas(boxes: Boxes) -> NDArray[np.float32]:
    areas: NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _overlap(
    a: Boxes, area_a: NDArray[np.float32] | np.float32, b: Boxes, area_b: NDArray[np.float32]
) -> NDArray[np.float32]:
    """IoU of boxes given by their sides x1, y1, x2, y2 along the first axis; nan where neither has an area."""
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    common = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap: NDArray[np.float32] = common / (area_a + area_b - common)
    return overlap
