"""What each detection is, and why each missed object was missed: the split of errors, and what each kind costs.

Definitions, after TIDE (Bolya et al., ECCV 2020). Objects count if KITTI's `hard` counts them; taking another one is
neither right nor wrong, like a detection lower than 25 pixels or mostly inside a region to ignore. Detections, best
score first, take the object of their class with the largest IoU above the class's limit (.7 Car, .5 the others).
The rest are
- duplicate:    above the limit on an object of their class that a better one took
- class:        above the limit on an object of another class
- localisation: IoU above .1 with an object of their class
- background:   none of these
and an object is *missed* if no detection took it and no class or localisation error points at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detector.evaluation.columns import Columns
from detector.evaluation.kitti_ap import DIFFICULTIES, MIN_OVERLAP, evaluate_class, limit_of, mostly_inside
from detector.evaluation.matching import (
    BoolArray,
    FloatArray,
    IntArray,
    Pairs,
    first_of_run,
    heights,
    overlapping,
    take_in_turn,
    turns,
)

CORRECT, DUPLICATE, CLASS, LOCALISATION, BACKGROUND, IGNORED = range(6)
KINDS = ("correct", "duplicate", "class", "localisation", "background", "ignored")
NEARBY = 0.1  # an IoU that tells a badly placed box from one on something else


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every detection [n] of the classes, by frame and falling score, and every object [m] of the classes.

    The names of both columns are the classes.
    """

    detections: Columns
    kind: IntArray  # [n] index into KINDS
    object: IntArray  # [n] the object a detection is about, or -1
    objects: Columns
    counted: BoolArray  # [m] whether it has to be found
    missed: BoolArray  # [m]

    def above(self, score: float) -> Diagnosis:
        """The diagnosis of the detections with at least this score; what better ones took does not change by it."""
        kept = self.detections.scores >= score
        kind, object_ = self.kind[kept], self.object[kept]
        missed = _missed(self.counted, kind, object_)
        return Diagnosis(self.detections.select(kept), kind, object_, self.objects, self.counted, missed)

    def counts(self) -> dict[str, int]:
        """Errors by kind, with the missed objects."""
        by_kind = np.bincount(self.kind, minlength=len(KINDS))
        errors = (LOCALISATION, CLASS, DUPLICATE, BACKGROUND)
        return {KINDS[kind]: int(by_kind[kind]) for kind in errors} | {"missed": int(self.missed.sum())}


def diagnose(ground_truth: Columns, detections: Columns, classes: Sequence[str]) -> Diagnosis:
    """Looks at the detections of every score; `above` narrows it to those that would be shown."""
    objects, detections = ground_truth.of(classes), detections.of(classes)
    detections = detections.select(np.lexsort((-detections.scores, detections.frame)))
    hardest = DIFFICULTIES[-1]
    counted = (
        (heights(objects) > hardest.min_height)
        & (objects.occlusion <= hardest.max_occlusion)
        & (objects.truncation <= hardest.max_truncation)
    )
    limits = np.array([limit_of(name) for name in classes])
    pairs = overlapping(objects, detections, NEARBY)
    same = objects.name[pairs.object] == detections.name[pairs.detection]
    on_target = pairs.overlap > limits[detections.name[pairs.detection]]

    kind = np.full(len(detections), BACKGROUND)
    about = np.full(len(detections), -1)
    _blame(pairs.select(same & ~on_target & counted[pairs.object]), LOCALISATION, kind, about)
    _blame(pairs.select(~same & on_target & counted[pairs.object]), CLASS, kind, about)
    _blame(pairs.select(same & on_target & counted[pairs.object]), DUPLICATE, kind, about)
    excused = np.abs(heights(detections)) < hardest.min_height
    for name in classes:
        of_name = np.flatnonzero(detections.named(name))
        regions = ground_truth.select(ground_truth.regions(name, classes))
        excused[of_name] |= mostly_inside(detections.select(of_name), regions, limit_of(name))
    unlisted = pairs.select(on_target & ~counted[pairs.object]).detection
    excused[unlisted[~np.isin(kind[unlisted], (CLASS, DUPLICATE))]] = True
    kind[excused] = IGNORED

    candidates = pairs.select(same & on_target)
    candidates = candidates.select(np.lexsort((-candidates.overlap, ~counted[candidates.object], candidates.detection)))
    rounds = turns(detections.frame, candidates.detection)
    taken = candidates.select(take_in_turn(candidates.detection, candidates.object, rounds, len(objects)))
    kind[taken.detection] = np.where(counted[taken.object], CORRECT, IGNORED)
    about[taken.detection] = taken.object
    return Diagnosis(detections, kind, about, objects, counted, _missed(counted, kind, about))


def best_score(diagnosis: Diagnosis) -> float:
    """The score from which on F1 = 2 TP / (detections + objects) over all classes is largest."""
    judged = diagnosis.kind != IGNORED
    order = np.argsort(-diagnosis.detections.scores[judged], kind="stable")
    scores = diagnosis.detections.scores[judged][order]
    right = np.cumsum(diagnosis.kind[judged][order] == CORRECT)
    if not len(scores) or not right[-1]:
        return 0.0
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + diagnosis.counted.sum())
    last_of_ties = np.append(scores[1:] != scores[:-1], True)  # a threshold lets all detections of one score through
    return float(scores[np.argmax(np.where(last_of_ties, f1, -1))])


def confusion(diagnosis: Diagnosis) -> IntArray:
    """[K+1, K+1] counts, true class by detected class; last row: detections on nothing, last column: nothing found."""
    detected, true = diagnosis.detections.name, diagnosis.objects.name
    size = len(diagnosis.objects.names) + 1
    matrix = np.zeros((size, size), np.intp)
    pointing = np.isin(diagnosis.kind, (CORRECT, CLASS))
    np.add.at(matrix, (true[diagnosis.object[pointing]], detected[pointing]), 1)
    false = np.isin(diagnosis.kind, (DUPLICATE, LOCALISATION, BACKGROUND))
    matrix[-1, :] += np.bincount(detected[false], minlength=len(matrix))
    unseen = diagnosis.counted.copy()
    unseen[diagnosis.object[pointing]] = False
    matrix[:, -1] += np.bincount(true[unseen], minlength=len(matrix))
    return matrix


def average_precision(diagnosis: Diagnosis, name: str, objects: BoolArray, judged: BoolArray | None = None) -> float:
    """AP (40 recall points, percent) over a part of a class's objects [m]; others, once found, are left out of it.

    `judged` [n] says which wrong detections count. nan without objects.
    """
    wanted = objects & diagnosis.counted & diagnosis.objects.named(name)
    if not wanted.any():
        return float("nan")
    right = diagnosis.kind == CORRECT
    here = diagnosis.detections.named(name) & (diagnosis.kind != IGNORED)
    here &= np.where(right, wanted[diagnosis.object], True if judged is None else judged)
    order = np.argsort(-diagnosis.detections.scores[here], kind="stable")
    tp = np.cumsum(right[here][order])
    precision = tp / np.arange(1, len(tp) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    reached = np.searchsorted(tp / wanted.sum(), np.arange(1, 41) / 40 - 1e-12)
    return float(envelope[reached].mean() * 100)


def gains(ground_truth: Columns, diagnosis: Diagnosis, classes: Sequence[str]) -> dict[str, float]:
    """Points of moderate AP40, mean of KITTI's classes, that would be won if all errors of one kind were none."""
    kitti = [name for name in MIN_OVERLAP if name in classes and ground_truth.named(name).any()]

    def mean_ap(truth: Columns, detections: Columns) -> float:
        return float(np.mean([evaluate_class(truth, detections, name)["moderate"].AP40 for name in kitti] or [0.0]))

    detections, kind, about = diagnosis.detections, diagnosis.kind, diagnosis.object
    before = mean_ap(ground_truth, detections)
    found = np.zeros(len(diagnosis.objects), np.bool_)
    found[about[kind == CORRECT]] = True
    fixed: dict[str, Columns] = {}
    for error in (LOCALISATION, CLASS):
        # Mended, a detection finds its object if it is the best one to do so; otherwise it goes.
        rows = np.flatnonzero(kind == error)
        rows = rows[~found[about[rows]]]
        rows = rows[np.lexsort((-detections.scores[rows], about[rows]))]
        rows = np.sort(rows[first_of_run(about[rows])])
        boxes, name = detections.boxes.copy(), detections.name.copy()
        boxes[rows] = diagnosis.objects.boxes[about[rows]]
        name[rows] = diagnosis.objects.name[about[rows]]
        kept = kind != error
        kept[rows] = True
        fixed[KINDS[error]] = replace(detections, boxes=boxes, name=name).select(kept)
    for error in (DUPLICATE, BACKGROUND):
        fixed[KINDS[error]] = detections.select(kind != error)
    won = {label: mean_ap(ground_truth, columns) - before for label, columns in fixed.items()}
    others = np.ones(len(ground_truth), np.bool_)
    others[np.flatnonzero(ground_truth.named(*classes))[diagnosis.missed]] = False
    return won | {"missed": mean_ap(ground_truth.select(others), detections) - before}


def _blame(pairs: Pairs, error: int, kind: IntArray, about: IntArray) -> None:
    """Sets the error of every detection in `pairs`, about the object of largest IoU."""
    pairs = pairs.select(np.lexsort((-pairs.overlap, pairs.detection)))
    pairs = pairs.select(first_of_run(pairs.detection))
    kind[pairs.detection] = error
    about[pairs.detection] = pairs.object


def _missed(counted: BoolArray, kind: IntArray, about: IntArray) -> BoolArray:
    explained = np.zeros(len(counted), np.bool_)
    explained[about[np.isin(kind, (CORRECT, CLASS, LOCALISATION))]] = True
    return counted & ~explained


def scores_of(diagnosis: Diagnosis, name: str) -> tuple[FloatArray, FloatArray]:
    """The scores of a class's right and of its wrong detections."""
    here = diagnosis.detections.named(name) & (diagnosis.kind != IGNORED)
    right = diagnosis.kind == CORRECT
    return diagnosis.detections.scores[here & right], diagnosis.detections.scores[here & ~right]
