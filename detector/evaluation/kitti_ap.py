"""KITTI 2D object detection AP, equal to the official devkit (2019, 40 recall points), in NumPy alone.

The devkit matches object after object, frame after frame, once for every score threshold. Here all frames go in lock
step: round r matches the r-th object of every frame at once. And instead of at 41 thresholds a frame is matched only at
those where one of its own candidate detections appears (its *situations*): in between nothing can change.

Protocol, for a class and a difficulty (every comparison as written, float64, areas without +1):
an object is *valid*, or *ignored* (beyond the difficulty, or of the neighbour class: Van for Car, Person_sitting for
Pedestrian); a detection is *small* (lower than the difficulty's minimum height, whatever its class) or *active*.
1. Scores: each object takes the candidate (IoU > limit) with the highest score; scores of valid-active pairs give
   at most 41 thresholds.
2. Counts, per threshold: each object takes the active candidate with the largest IoU, or else the first small one.
   Valid-active pairs are TP; active detections that nobody took are FP, unless more than `limit` of their area lies in
   a DontCare region.
3. Precision at the k-th threshold stands for recall k/40; its envelope is averaged over k = 0, 4, ... 40 (AP11) and
   over k = 1 ... 40 (AP40, KITTI's own since 8 Oct 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.formats.kitti import NEIGHBOURS
from detector.evaluation.columns import Columns
from detector.evaluation.matching import (
    BoolArray,
    FloatArray,
    IntArray,
    Pairs,
    areas,
    heights,
    intersections,
    overlapping,
    ranges,
    take_in_turn,
    turns,
)

RECALL_POINTS = 41
MIN_OVERLAP = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}  # KITTI's classes and their IoU limits


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
    """One class at one difficulty: AP in percent, valid objects, and precision [41] (the envelope) at recall k/40."""

    AP40: float
    AP11: float
    n_gt: int
    precision: FloatArray
    thresholds: FloatArray  # [at most 41] scores, falling


def evaluate_kitti(ground_truth: Columns, detections: Columns, classes: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """The curves of KITTI's three classes that are among `classes`; none where objects lack KITTI's attributes."""
    known = ground_truth.occlusion[~ground_truth.ignore] >= 0
    if len(known) and not known.any():
        return {}
    return {name: evaluate_class(ground_truth, detections, name) for name in MIN_OVERLAP if name in classes}


def limit_of(name: str) -> float:
    """The IoU above which a detection of a class is on target: KITTI's, and .5 for other classes."""
    return MIN_OVERLAP.get(name, 0.5)


def evaluate_class(
    ground_truth: Columns, detections: Columns, name: str, min_overlap: float | None = None
) -> dict[str, Curve]:
    """The easy, moderate and hard curve of a class. `min_overlap` None is the class's own limit."""
    limit = limit_of(name) if min_overlap is None else min_overlap
    neighbours = (NEIGHBOURS[name],) if name in NEIGHBOURS else ()
    objects = ground_truth.select(ground_truth.named(name, *neighbours))
    # A detection of another class matters only where it is small: then it may take an object away.
    highest_limit = max(difficulty.min_height for difficulty in DIFFICULTIES)
    candidates = detections.select(detections.named(name) | (np.abs(heights(detections)) < highest_limit))
    excused = mostly_inside(candidates, ground_truth.select(ground_truth.ignore), limit)
    pairs = overlapping(objects, candidates, limit)
    return {
        difficulty.name: _curve(objects, candidates, excused, pairs, name, difficulty) for difficulty in DIFFICULTIES
    }


def score_thresholds(scores: FloatArray, n_gt: int) -> FloatArray:
    """Those of the scores of found objects that lie nearest to recalls 0, 1/40, ... 1 (falling, at most 41)."""
    falling = np.sort(scores)[::-1].tolist()
    chosen, recall = [], 0.0
    for i, score in enumerate(falling):
        last = i == len(falling) - 1
        left = (i + 1) / n_gt
        right = left if last else (i + 2) / n_gt
        if right - recall < recall - left and not last:
            continue
        chosen.append(score)
        recall += 1.0 / (RECALL_POINTS - 1)
    return np.array(chosen, np.float64)


def _curve(
    objects: Columns, detections: Columns, excused: BoolArray, pairs: Pairs, name: str, difficulty: Difficulty
) -> Curve:
    valid = (
        objects.named(name)
        & (objects.occlusion <= difficulty.max_occlusion)
        & (objects.truncation <= difficulty.max_truncation)
        & (heights(objects) > difficulty.min_height)
    )
    small = np.abs(heights(detections)) < difficulty.min_height
    active = detections.named(name) & ~small
    pairs = pairs.select((active | small)[pairs.detection])
    n_gt = int(valid.sum())

    found = pairs.select(_match_for_scores(objects, detections, pairs))
    right = valid[found.object] & active[found.detection]
    thresholds = score_thresholds(detections.scores[found.detection[right]], n_gt)

    # Detection d takes part from threshold entry[d] on, the first that is not above its score.
    entry = np.searchsorted(-thresholds, -detections.scores, side="left")
    wrong_if_free = active & ~excused
    appearing = np.bincount(entry[wrong_if_free], minlength=len(thresholds))[: len(thresholds)]
    tp, taken = _match_at_thresholds(objects, pairs, valid, active, wrong_if_free, entry, len(thresholds))
    shown = tp + np.cumsum(appearing) - taken
    precision = np.zeros(RECALL_POINTS)
    # Nothing right and nothing wrong, 0/0, is nan in the devkit; here it is 0: nothing was right.
    precision[: len(thresholds)] = tp / np.maximum(shown, 1)
    precision[:] = np.maximum.accumulate(precision[::-1])[::-1]
    return Curve(
        AP40=float(precision[1:].mean() * 100),
        AP11=float(precision[::4].mean() * 100),
        n_gt=n_gt,
        precision=precision,
        thresholds=thresholds,
    )


def _match_for_scores(objects: Columns, detections: Columns, pairs: Pairs) -> IntArray:
    """Pass 1: the rows of `pairs` that form when every object takes its highest score (the first in file on a tie)."""
    order = np.lexsort((pairs.detection, -detections.scores[pairs.detection], pairs.object))
    rounds = turns(objects.frame, pairs.object)
    return order[take_in_turn(pairs.object[order], pairs.detection[order], rounds[order], len(detections))]


def _match_at_thresholds(
    objects: Columns,
    pairs: Pairs,
    valid: BoolArray,
    active: BoolArray,
    wrong_if_free: BoolArray,
    entry: IntArray,
    n_thresholds: int,
) -> tuple[IntArray, IntArray]:
    """Pass 2: TP [T], and how many of the detections that would be wrong were taken [T], at every threshold."""
    pairs = pairs.select(entry[pairs.detection] < n_thresholds)
    # Preference: active detections by falling IoU, then the small ones, each in file order where equal.
    worth = np.where(active[pairs.detection], pairs.overlap, 0.0)
    pairs = pairs.select(np.lexsort((pairs.detection, -worth, pairs.object)))

    # Situations [s]: a frame, and a threshold at which one of its candidates appears; it lasts until the frame's next.
    situations = np.unique(objects.frame[pairs.object] * n_thresholds + entry[pairs.detection])
    frame, begin = np.divmod(situations, max(n_thresholds, 1))
    end = np.append(np.where(frame[1:] == frame[:-1], begin[1:], n_thresholds), n_thresholds)[: len(frame)]

    # Every object in every situation of its frame is a taker, with those of its pairs whose detection is there by then.
    object_, first_pair, n_pairs = np.unique(pairs.object, return_index=True, return_counts=True)
    first_situation = np.searchsorted(frame, objects.frame[object_], side="left")
    n_situations = np.searchsorted(frame, objects.frame[object_], side="right") - first_situation
    which, situation = ranges(first_situation, n_situations)
    taker, pair = ranges(first_pair[which], n_pairs[which])
    situation = situation[taker]
    present = entry[pairs.detection[pair]] <= begin[situation]
    taker, pair, situation = taker[present], pair[present], situation[present]

    # A detection can be taken once in each situation of its frame: number these slots.
    _, first_row, index = np.unique(pairs.detection, return_index=True, return_inverse=True)
    of_pair = np.searchsorted(object_, pairs.object)
    first_slot = np.cumsum(np.append(0, n_situations[of_pair[first_row]]))
    slot = first_slot[index[pair]] + situation - first_situation[of_pair[pair]]
    rounds = turns(objects.frame, pairs.object)
    chosen = take_in_turn(taker, slot, rounds[pair], int(first_slot[-1]))

    def at_every_threshold(counts: BoolArray) -> IntArray:
        """[T] How many of the chosen pairs for which `counts` holds exist at each threshold."""
        lasting = situation[chosen[counts[pair[chosen]]]]
        steps = np.bincount(begin[lasting], minlength=n_thresholds + 1)
        steps -= np.bincount(end[lasting], minlength=n_thresholds + 1)
        return np.cumsum(steps)[:n_thresholds]

    return (
        at_every_threshold(valid[pairs.object] & active[pairs.detection]),
        at_every_threshold(wrong_if_free[pairs.detection]),
    )


def mostly_inside(detections: Columns, regions: Columns, limit: float) -> BoolArray:
    """[n] whether more than `limit` of the detection's own area lies in one region."""
    inside = np.zeros(len(detections), np.bool_)
    detection, _, shared = intersections(detections, regions)
    inside[detection[shared / areas(detections)[detection] > limit]] = True
    return inside
