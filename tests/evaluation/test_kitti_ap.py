from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_frames import scenes
from slow_kitti_ap import kitti_ap

from data.formats.kitti import Label
from detector.evaluation.columns import from_labels
from detector.evaluation.kitti_ap import evaluate_class, score_thresholds

LEVELS = ("easy", "moderate", "hard")


def curves_of(ground_truth, detections, name, min_overlap=None):
    frames = sorted(ground_truth)
    return evaluate_class(
        from_labels(ground_truth, frames, scored=False), from_labels(detections, frames, scored=True), name, min_overlap
    )


@pytest.mark.parametrize("name", ["Car", "Pedestrian", "Cyclist"])
def test_every_number_and_precision_curve_equals_the_official_devkit(golden, name):
    curves = evaluate_class(*golden.columns(), name)
    for level in LEVELS:
        expected = golden.expected["kitti"][name][level]
        assert curves[level].n_gt == expected["n_gt"]
        np.testing.assert_allclose(curves[level].precision, expected["precision"], rtol=0, atol=1e-12)
        assert abs(curves[level].AP40 - expected["AP40"]) < 1e-9
        assert abs(curves[level].AP11 - expected["AP11"]) < 1e-9


@settings(max_examples=500, deadline=None)
@given(scenes(), st.sampled_from([("Car", 0.7), ("Car", 0.5), ("Pedestrian", 0.5), ("Cyclist", 0.5), ("Van", 0.3)]))
def test_lock_step_matching_equals_plain_loops(scene, class_and_limit):
    name, limit = class_and_limit
    curves = curves_of(*scene, name, limit)
    for level in LEVELS:
        precision, n_gt = kitti_ap(*scene, name, level, limit)
        assert curves[level].n_gt == n_gt
        assert curves[level].precision.tolist() == precision


def crowd(n: int, scores) -> tuple[dict, dict]:
    """n well separated cars, a frame each, found exactly with the given scores."""
    box = (100.0, 100.0, 200.0, 180.0)
    ground_truth = {f"{i:06d}": [Label("Car", box, 0.0, 0)] for i in range(n)}
    return ground_truth, {frame: [Label("Car", box, score=s)] for frame, s in zip(ground_truth, scores, strict=True)}


def test_a_perfect_detector_reaches_100_from_41_objects_on():
    for n, ap40 in ((1, 0.0), (21, 50.0), (40, 97.5), (41, 100.0), (100, 100.0)):
        curve = curves_of(*crowd(n, np.linspace(0.9, 0.1, n).tolist()), "Car")["easy"]
        assert (curve.n_gt, curve.AP40) == (n, pytest.approx(ap40, abs=1e-9))


def test_duplicates_of_a_found_object_are_false_positives():
    ground_truth, detections = crowd(41, [0.5] * 41)
    for found in detections.values():
        found.append(found[0])
    curve = curves_of(ground_truth, detections, "Car")["easy"]
    assert curve.precision.tolist() == [0.5] * 41
    assert curve.AP40 == 50.0


def test_without_objects_or_without_detections_everything_is_zero():
    ground_truth, detections = crowd(41, [0.5] * 41)
    nothing = {frame: [] for frame in ground_truth}
    for truth, found, n_gt in ((nothing, detections, 0), (ground_truth, nothing, 41), (nothing, nothing, 0)):
        curve = curves_of(truth, found, "Car")["easy"]
        assert (curve.n_gt, curve.AP40, curve.AP11, len(curve.thresholds)) == (n_gt, 0.0, 0.0, 0)
        assert not curve.precision.any()


def test_nothing_right_and_nothing_wrong_is_precision_zero():
    # Pass 1: the ignored object takes the small box (score .9), the valid one the car: its score .5 is the threshold.
    # Pass 2: the ignored object prefers the car, the valid one is left with the small box: no TP, and no FP either.
    ignored, valid = Label("Car", (0.0, 0.0, 100.0, 41.0), 0.0, 3), Label("Car", (0.0, 0.0, 100.0, 41.0), 0.0, 0)
    car, small = Label("Car", (0.0, 0.0, 100.0, 41.0), score=0.5), Label("Tram", (0.0, 1.5, 100.0, 41.0), score=0.9)
    scene = ({"0": [ignored, valid]}, {"0": [car, small]})
    curve = curves_of(*scene, "Car")["easy"]
    assert curve.thresholds.tolist() == [0.5]
    assert curve.precision.tolist() == [0.0] * 41 == kitti_ap(*scene, "Car", "easy", 0.7)[0]


def test_a_dontcare_region_is_neither_right_nor_wrong():
    ground_truth, detections = crowd(41, [0.5] * 41)
    wrong = Label("Car", (400.0, 100.0, 500.0, 180.0), score=0.9)
    detections["000000"].append(wrong)
    assert curves_of(ground_truth, detections, "Car")["easy"].precision[0] < 1
    for cover, excused in ((70.0, False), (70.01, True)):  # more than the class's limit of the detection's own area
        region = Label("DontCare", (400.0, 90.0, 400.0 + cover, 190.0))
        truth = {**ground_truth, "000000": [*ground_truth["000000"], region]}
        assert (curves_of(truth, detections, "Car")["easy"].AP40 == 100.0) == excused


def test_any_class_can_be_scored_at_any_iou():
    box, shifted = (0.0, 0.0, 100.0, 50.0), (20.0, 0.0, 120.0, 50.0)  # IoU 80 / 120
    ground_truth = {f"{i:02d}": [Label("Tram", box, 0.0, 0)] for i in range(41)}
    detections = {frame: [Label("Tram", shifted, score=0.5)] for frame in ground_truth}
    assert curves_of(ground_truth, detections, "Tram", 0.66)["easy"].AP40 == 100.0
    assert curves_of(ground_truth, detections, "Tram", 0.67)["easy"].AP40 == 0.0
    assert curves_of(ground_truth, detections, "Tram")["easy"].AP40 == 100.0


def test_the_order_of_frames_does_not_matter(small):
    ground_truth, detections = small.columns()
    forward = evaluate_class(ground_truth, detections, "Car")
    rows = np.argsort(-ground_truth.frame, kind="stable"), np.argsort(-detections.frame, kind="stable")
    last = len(ground_truth.frames) - 1
    backward = [columns.select(order) for columns, order in zip((ground_truth, detections), rows, strict=True)]
    for columns in backward:
        np.subtract(last, columns.frame, out=columns.frame)
    reversed_curves = evaluate_class(*backward, "Car")
    assert [c.precision.tolist() for c in forward.values()] == [c.precision.tolist() for c in reversed_curves.values()]


def test_the_lowest_score_is_always_a_threshold():
    for n_gt, found in itertools.product((1, 50, 200), (1, 30)):
        scores = np.linspace(1, 0.1, min(found, n_gt))
        chosen = score_thresholds(scores, n_gt)
        assert chosen[-1] == scores.min()
        assert len(chosen) <= 41
        assert (np.diff(chosen) < 0).all()


def test_among_equal_candidates_the_first_in_the_file_is_taken():
    first, second = Label("Car", (100.0, 0.0, 200.0, 80.0), 0.0, 0), Label("Car", (120.0, 0.0, 220.0, 80.0), 0.0, 0)
    left, right = Label("Car", (95.0, 0.0, 195.0, 80.0), score=0.5), Label("Car", (105.0, 0.0, 205.0, 80.0), score=0.5)
    # Both overlap the first object equally, only `right` reaches the second one.
    for found, precision in (([left, right], 1.0), ([right, left], 0.5)):
        assert curves_of({"0": [first, second]}, {"0": found}, "Car")["easy"].precision[0] == precision
