"""KITTI 2D object detection AP, equal to the official devkit (2019, 40 recall points) to the last bit, in NumPy alone.

The devkit matches object after object, frame after frame, once for every score threshold. Here all frames go in lock
step: round r matches the r-th object of every frame at once. And instead of 41 thresholds a frame is matched only at
those where one of its own candidate detections appears (its *situations*): in between nothing can change.

Protocol, for a class and a difficulty (every comparison as written, float64, areas without +1):
an object is *valid*, or *ignored* (beyond the difficulty, or of the neighbour class: Van for Car, Person_sitting for
Pedestrian), a detection is *small* (lower than the difficulty's minimum height, whatever its class) or *active*.
1. Scores: each object takes the candidate (IoU > limit) with the highest score; scores of valid-active pairs give
   at most 41 thresholds.
2. Counts, per threshold: each object takes the active candidate with the largest IoU, or else the first small one.
   Valid-active pairs are TP; active detections that nobody took are FP, unless more than `limit` of their area lies in
   a DontCare region.
3. Precision at the k-th threshold stands for recall k/40; its envelope is averaged over k = 0, 4, ... 40 (AP11) and over
   k = 1 ... 40 (AP40, KITTI's own since 8 Oct 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.kitti import DONT_CARE
from detector.evaluation.columns import Columns

IntArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

RECALL_POINTS = 41
MIN_OVERLAP = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}  # KITTI's classes and IoU limits
NEIGHBOURS = {"Car": ("Van",), "Pedestrian": ("Person_sitting",)}  # taking one of these is neither right nor wrong


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Which objects must be found: higher than min_height pixels, not more occluded or truncated than the limits."""

    name: str
    min_height: float
    max_occlusion: int
    max_truncation: float


DIFFICULTIES = (Difficulty("easy", 40, 0, 0.15), Difficulty("moderate", 25, 1, 0.30), Difficulty("hard", 25, 2, 0.50))


@dataclass(frozen=True, slots=True)
class Curve:
    """One class at one difficulty. precision [41] after the envelope, at recall k/40; AP in percent."""

    AP40: float
    AP11: float
    n_gt: int
    precision: FloatArray
    thresholds: FloatArray  # [at most 41] scores, falling


def evaluate_class(
    ground_truth: Columns, detections: Columns, name: str, min_overlap: float | None = None
) -> dict[str, Curve]:
    """The easy, moderate and hard curve of a class. `min_overlap` defaults to KITTI's limit, .5 for other classes."""
    limit = MIN_OVERLAP.get(name, 0.5) if min_overlap is None else min_overlap
    lowest = max(difficulty.min_height for difficulty in DIFFICULTIES)
    of_class = ground_truth.named(name)
    objects = ground_truth.select(of_class | ground_truth.named(*NEIGHBOURS.get(name, ())))
    # A detection of another class matters only where it is small: then it may take an object away.
    wanted = detections.named(name) | (_height(detections) < lowest)
    candidates = detections.select(wanted)
    regions = ground_truth.select(ground_truth.named(DONT_CARE))
    excused = _excused(candidates, regions, limit)
    pairs = _overlapping(objects, candidates, limit)
    return {
        difficulty.name: _curve(objects, candidates, excused, pairs, name, difficulty) for difficulty in DIFFICULTIES
    }


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Object and detection [p] of one frame whose IoU is above the limit; by object, detections in file order."""

    object: IntArray
    detection: IntArray
    overlap: FloatArray


def _curve(
    objects: Columns, detections: Columns, excused: BoolArray, pairs: _Pairs, name: str, difficulty: Difficulty
) -> Curve:
    valid = (
        objects.named(name)
        & (objects.occlusion <= difficulty.max_occlusion)
        & (objects.truncation <= difficulty.max_truncation)
        & (objects.boxes[:, 3] - objects.boxes[:, 1] > difficulty.min_height)
    )
    small = _height(detections) < difficulty.min_height
    active = detections.named(name) & ~small
    usable = (active | small)[pairs.detection]
    pairs = _Pairs(pairs.object[usable], pairs.detection[usable], pairs.overlap[usable])
    n_gt = int(valid.sum())

    found = _match_for_scores(objects, detections, pairs)
    right = valid[pairs.object[found]] & active[pairs.detection[found]]
    thresholds = score_thresholds(detections.scores[pairs.detection[found]][right], n_gt)

    # Detection d takes part at threshold k and all later ones: k = entry[d], the first one not above its score.
    entry = np.searchsorted(-thresholds, -detections.scores, side="left")
    counted = active & ~excused & (entry < len(thresholds))
    appear = np.bincount(entry[counted], minlength=len(thresholds))[: len(thresholds)]
    tp, taken = _match_at_thresholds(objects, pairs, valid, active, counted, entry, len(thresholds))
    fp = np.cumsum(appear) - taken
    precision = np.zeros(RECALL_POINTS)
    # 0/0 (the devkit's nan) is 0 here: nothing was right.
    precision[: len(thresholds)] = np.divide(tp, tp + fp, out=np.zeros(len(thresholds)), where=tp + fp > 0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return Curve(
        AP40=float(precision[1:].mean() * 100),
        AP11=float(precision[::4].mean() * 100),
        n_gt=n_gt,
        precision=precision,
        thresholds=thresholds,
    )


def score_thresholds(scores: FloatArray, n_gt: int) -> FloatArray:
    """Those of the scores of found objects that are nearest to recalls 0, 1/40, ... 1 (falling, at most 41)."""
    falling = np.sort(scores)[::-1]
    chosen, recall = [], 0.0
    for i, score in enumerate(falling.tolist()):
        last = i == len(falling) - 1
        left = (i + 1) / n_gt
        right = left if last else (i + 2) / n_gt
        if right - recall < recall - left and not last:
            continue
        chosen.append(score)
        recall += 1.0 / (RECALL_POINTS - 1)
    return np.array(chosen, np.float64)


def _match_for_scores(objects: Columns, detections: Columns, pairs: _Pairs) -> IntArray:
    """Pass 1: indices of the pairs that form when every object takes its highest score (the first in file on a tie)."""
    order = np.lexsort((pairs.detection, -detections.scores[pairs.detection], pairs.object))
    rounds = _rounds(objects.frame, pairs.object)
    chosen = _take_in_turn(pairs.object[order], pairs.detection[order], rounds[order], len(detections))
    return order[chosen]


def _match_at_thresholds(
    objects: Columns,
    pairs: _Pairs,
    valid: BoolArray,
    active: BoolArray,
    counted: BoolArray,
    entry: IntArray,
    n_thresholds: int,
) -> tuple[IntArray, IntArray]:
    """Pass 2: TP [T], and how many of the `counted` detections were taken [T], at every threshold."""
    present = entry[pairs.detection] < n_thresholds
    pairs = _Pairs(pairs.object[present], pairs.detection[present], pairs.overlap[present])
    if not len(pairs.object):
        return np.zeros(n_thresholds, np.intp), np.zeros(n_thresholds, np.intp)
    # Preference: active before small, active by falling IoU, then file order.
    is_active = active[pairs.detection]
    order = np.lexsort((pairs.detection, np.where(is_active, -pairs.overlap, 0.0), ~is_active, pairs.object))
    pairs = _Pairs(pairs.object[order], pairs.detection[order], pairs.overlap[order])

    # Situations [s]: a frame and a threshold at which one of its candidates appears; sorted by frame, then threshold.
    pair_frame = objects.frame[pairs.object]
    situations = np.unique(pair_frame * n_thresholds + entry[pairs.detection])
    frame, start = np.divmod(situations, n_thresholds)
    same_frame = np.append(frame[1:] == frame[:-1], False)
    end = np.where(same_frame, np.roll(start, -1), n_thresholds)

    # Every object in every situation of its frame [o], then each of its pairs there [i]; kept if the detection is present.
    object_, first_pair, n_pairs = np.unique(pairs.object, return_index=True, return_counts=True)
    first_situation = np.searchsorted(frame, objects.frame[object_], side="left")
    n_situations = np.searchsorted(frame, objects.frame[object_], side="right") - first_situation
    which, situation = _ranges(first_situation, n_situations)
    turn, pair = _ranges(first_pair[which], n_pairs[which])
    situation = situation[turn]
    here = entry[pairs.detection[pair]] <= start[situation]
    turn, pair, situation = turn[here], pair[here], situation[here]

    # A detection is taken once in each situation: number those (detection, situation) slots.
    first_of_frame = np.searchsorted(frame, frame, side="left")
    detection, detection_index = np.unique(pairs.detection, return_inverse=True)
    slots = np.zeros(len(detection) + 1, np.intp)
    width = np.zeros(len(detection), np.intp)
    width[detection_index] = n_situations[np.searchsorted(object_, pairs.object)]
    np.cumsum(width, out=slots[1:])
    slot = slots[detection_index[pair]] + situation - first_of_frame[situation]
    rounds = _rounds(objects.frame, pairs.object)[pair]
    chosen = _take_in_turn(turn, slot, rounds, int(slots[-1]))

    def at_every_threshold(weight: BoolArray) -> IntArray:
        """A pair chosen in a situation counts from the situation's threshold until the next situation of the frame."""
        hits = situation[chosen[weight[pair[chosen]]]]
        steps = np.bincount(start[hits], minlength=n_thresholds + 1)
        steps -= np.bincount(end[hits], minlength=n_thresholds + 1)
        return np.cumsum(steps)[:n_thresholds]

    return (
        at_every_threshold(valid[pairs.object] & active[pairs.detection]),
        at_every_threshold(counted[pairs.detection]),
    )


def _take_in_turn(takers: IntArray, things: IntArray, rounds: IntArray, n_things: int) -> IntArray:
    """Greedy matching in lock step: in round 0, 1, ... every taker of that round takes its first thing that is still free.

    Rows [i] say that a taker may take a thing; the rows of a taker stand together, best first. Two takers of one round
    never compete for a thing. Returns the indices of the rows that came true.
    """
    free = np.ones(n_things, np.bool_)
    order = np.argsort(rounds, kind="stable")
    taken = []
    for rows in np.split(order, np.cumsum(np.bincount(rounds))[:-1]) if len(order) else []:
        rows = rows[free[things[rows]]]
        taker = takers[rows]
        first = np.ones(len(rows), np.bool_)
        np.not_equal(taker[1:], taker[:-1], out=first[1:])
        rows = rows[first]
        free[things[rows]] = False
        taken.append(rows)
    return np.concatenate(taken) if taken else np.zeros(0, np.intp)


def _rounds(frame: IntArray, object_: IntArray) -> IntArray:
    """[p] The turn of each pair's object among the objects of its frame that have a pair at all, in file order."""
    distinct, inverse = np.unique(object_, return_inverse=True)
    frames = frame[distinct]
    return (np.arange(len(distinct)) - np.searchsorted(frames, frames, side="left"))[inverse]


def _ranges(first: IntArray, count: IntArray) -> tuple[IntArray, IntArray]:
    """For each i the numbers first[i], first[i]+1, ... (count[i] of them): the i they belong to, and the numbers."""
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - before[owner] + first[owner]


def _height(columns: Columns) -> FloatArray:
    return np.abs(columns.boxes[:, 3] - columns.boxes[:, 1])


def _same_frame(first: Columns, second: Columns) -> tuple[IntArray, IntArray]:
    """All pairs of a row of `first` and a row of `second` in the same frame, by the row of `first`."""
    begin = np.searchsorted(second.frame, first.frame, side="left")
    count = np.searchsorted(second.frame, first.frame, side="right") - begin
    return _ranges(begin, count)


def _intersections(first: Columns, second: Columns) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of boxes of one frame that share an area: the rows, and the area."""
    a, b = _same_frame(first, second)
    ax1, ay1, ax2, ay2 = first.boxes.T
    bx1, by1, bx2, by2 = second.boxes.T
    width = np.minimum(ax2[a], bx2[b]) - np.maximum(ax1[a], bx1[b])
    touching = width > 0
    a, b, width = a[touching], b[touching], width[touching]
    height = np.minimum(ay2[a], by2[b]) - np.maximum(ay1[a], by1[b])
    touching = height > 0
    return a[touching], b[touching], width[touching] * height[touching]


def _areas(columns: Columns) -> FloatArray:
    x1, y1, x2, y2 = columns.boxes.T
    return (x2 - x1) * (y2 - y1)


def _overlapping(objects: Columns, detections: Columns, limit: float) -> _Pairs:
    a, b, shared = _intersections(objects, detections)
    overlap = shared / (_areas(detections)[b] + _areas(objects)[a] - shared)
    enough = overlap > limit
    return _Pairs(a[enough], b[enough], overlap[enough])


def _excused(detections: Columns, regions: Columns, limit: float) -> BoolArray:
    """[n] whether more than `limit` of the detection's own area lies in one DontCare region."""
    excused = np.zeros(len(detections), np.bool_)
    detection, _, shared = _intersections(detections, regions)
    excused[detection[shared / _areas(detections)[detection] > limit]] = True
    return excused
