from __future__ import annotations

import pytest
from hypothesis import given, settings
from random_frames import scenes

from data.formats.kitti import CLASSES, Label
from detector.evaluation import coco_ap, coco_arrays
from detector.evaluation.columns import from_labels

BOTH = pytest.mark.parametrize(
    "evaluate", [coco_ap.evaluate_coco, coco_arrays.evaluate_coco], ids=["pycocotools", "arrays"]
)


@BOTH
def test_all_numbers_equal_the_expected_ones_to_the_last_digit(golden, evaluate):
    numbers = evaluate(*golden.columns(), CLASSES)
    assert numbers.stats == golden.expected["coco"]["stats"]
    expected = golden.expected["coco"]["per_class"]
    assert {name: {k: v[k] for k in ("AP", "AP50")} for name, v in numbers.per_class.items()} == expected


@BOTH
def test_without_dontcare_regions_the_numbers_are_those_of_plain_coco(golden, evaluate):
    ground_truth, detections = golden.columns()
    numbers = evaluate(ground_truth.select(~ground_truth.ignore), detections, CLASSES)
    expected = golden.expected["coco_without_dontcare"]
    assert {name: numbers.stats[name] for name in expected} == expected


@settings(max_examples=80, deadline=None)
@given(scenes())
def test_arrays_equal_pycocotools_to_the_last_digit(scene):
    ground_truth, detections = scene
    frames = sorted(ground_truth)
    columns = from_labels(ground_truth, frames, scored=False), from_labels(detections, frames, scored=True)
    for classes in (CLASSES, ("Car", "Cyclist")):
        assert coco_arrays.evaluate_coco(*columns, classes) == coco_ap.evaluate_coco(*columns, classes)


def test_more_than_a_hundred_detections_an_image_are_cut_as_in_pycocotools():
    truth = {"0": [Label("Car", (10.0 * i, 0.0, 10.0 * i + 8, 40.0), 0.0, 0) for i in range(130)]}
    found = {"0": [Label("Car", label.box, score=0.5 + 0.001 * (i % 7)) for i, label in enumerate(truth["0"])]}
    columns = from_labels(truth, ["0"], scored=False), from_labels(found, ["0"], scored=True)
    numbers = coco_arrays.evaluate_coco(*columns, CLASSES)
    assert numbers == coco_ap.evaluate_coco(*columns, CLASSES)
    assert numbers.stats["AR_100"] == pytest.approx(100 / 130)
    assert numbers.stats["AR_10"] == pytest.approx(10 / 130)


@BOTH
def test_mAP50_is_the_mean_over_classes_that_have_objects(sparse, evaluate):
    numbers = evaluate(*sparse.columns(), CLASSES)
    present = [v["AP50"] for name, v in numbers.per_class.items() if name != "Cyclist"]
    assert numbers.per_class["Cyclist"] == {"AP": -1.0, "AP50": -1.0, "n_gt": 0}
    assert numbers.mAP50 == pytest.approx(sum(present) / 7)
    nothing = from_labels({"0": []}, ["0"], scored=False)
    assert evaluate(nothing, nothing, CLASSES).mAP50 == 0.0
