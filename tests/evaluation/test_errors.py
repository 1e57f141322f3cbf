from __future__ import annotations

import numpy as np
import pytest

from data.formats.kitti import CLASSES, Label
from detector.evaluation.columns import from_labels
from detector.evaluation.errors import KINDS, average_precision, best_score, confusion, diagnose, gains
from detector.evaluation.evaluator import evaluate

BOX = (100.0, 100.0, 200.0, 200.0)
AWAY = (600.0, 100.0, 700.0, 200.0)


def objects(*labels: tuple) -> list[Label]:
    return [Label(name, box, 0.0, *(rest or (0,))) for name, box, *rest in labels]


def diagnosis_of(truth: list[Label], found: list[tuple]):
    detections = [Label(name, box, score=score) for name, box, score in found]
    columns = from_labels({"0": truth}, ["0"], scored=False), from_labels({"0": detections}, ["0"], scored=True)
    return diagnose(*columns, CLASSES)


def kinds(diagnosis) -> list[str]:
    return [KINDS[kind] for kind in diagnosis.kind]  # best score first


CAR = objects(("Car", BOX))
ON_TARGET, NEAR = (100.0, 100.0, 200.0, 190.0), (100.0, 100.0, 200.0, 160.0)  # IoU .9 and .6, Car's limit is .7


@pytest.mark.parametrize(
    ("truth", "found", "expected", "missed"),
    [
        (CAR, [("Car", ON_TARGET, 0.9)], ["correct"], 0),
        (CAR, [("Car", ON_TARGET, 0.9), ("Car", BOX, 0.8)], ["correct", "duplicate"], 0),
        (CAR, [("Car", NEAR, 0.9)], ["localisation"], 0),
        (CAR, [("Van", ON_TARGET, 0.9)], ["class"], 0),
        (CAR, [("Car", AWAY, 0.9)], ["background"], 1),
        (CAR, [("Tram", (100.0, 100.0, 200.0, 140.0), 0.9)], ["background"], 1),  # another class, not even well placed
        (CAR, [], [], 1),
        (CAR, [("Car", ON_TARGET, 0.9), ("Car", NEAR, 0.5)], ["correct", "localisation"], 0),
        (objects(("Car", BOX, 3)), [("Car", BOX, 0.9)], ["ignored"], 0),  # nobody has to find it
        (CAR, [("Car", (600.0, 100.0, 700.0, 124.0), 0.9)], ["ignored"], 1),  # lower than 25 pixels
        ([Label("DontCare", AWAY), *CAR], [("Car", AWAY, 0.9)], ["ignored"], 1),
    ],
)
def test_each_kind_of_error_by_hand(truth, found, expected, missed):
    diagnosis = diagnosis_of(truth, found)
    assert kinds(diagnosis) == expected
    assert diagnosis.counts()["missed"] == missed


def test_an_object_found_only_by_unlikely_detections_is_missed_above_their_score():
    diagnosis = diagnosis_of(CAR, [("Car", AWAY, 0.9), ("Car", ON_TARGET, 0.3)])
    expected = {"localisation": 0, "class": 0, "duplicate": 0, "background": 1, "missed": 0}
    assert diagnosis.counts() == expected
    assert diagnosis.above(0.5).counts() == {**expected, "missed": 1}


def test_the_operating_point_has_the_best_f1_and_keeps_ties_together():
    truth = objects(("Car", BOX), ("Car", AWAY))
    found = [("Car", BOX, 0.9), ("Car", AWAY, 0.5), ("Tram", (300.0, 100.0, 400.0, 200.0), 0.4)]
    assert best_score(diagnosis_of(truth, found)) == 0.5
    found[2] = ("Tram", (300.0, 100.0, 400.0, 200.0), 0.5)  # F1: .67 at .9; with both of score .5 it is .8
    assert best_score(diagnosis_of(truth, found)) == 0.5
    assert best_score(diagnosis_of(truth, [])) == 0.0


def test_the_confusion_matrix_by_hand():
    third = (300.0, 100.0, 400.0, 200.0)
    truth = objects(("Car", BOX), ("Car", AWAY), ("Cyclist", third))
    found = [("Car", BOX, 0.9), ("Van", AWAY, 0.8), ("Car", (800.0, 100.0, 900.0, 200.0), 0.7)]
    matrix = confusion(diagnosis_of(truth, found))
    expected = np.zeros((9, 9), int)
    car, van, cyclist, nothing = (0, 1, CLASSES.index("Cyclist"), 8)
    expected[car, car] = expected[car, van] = expected[nothing, car] = expected[cyclist, nothing] = 1
    assert matrix.tolist() == expected.tolist()


def test_ap_of_a_part_of_the_objects_leaves_the_others_out():
    truth = objects(("Car", BOX, 0), ("Car", AWAY, 2))
    diagnosis = diagnosis_of(truth, [("Car", AWAY, 0.9), ("Car", BOX, 0.8)])
    visible = diagnosis.objects.occlusion == 0
    assert average_precision(diagnosis, "Car", visible) == 100.0
    assert average_precision(diagnosis, "Car", ~visible) == 100.0
    assert np.isnan(average_precision(diagnosis, "Tram", visible))
    wrong_first = diagnosis_of(truth, [("Car", (400.0, 100.0, 500.0, 200.0), 0.9), ("Car", BOX, 0.8)])
    assert average_precision(wrong_first, "Car", visible) == 50.0
    assert average_precision(wrong_first, "Car", visible, np.array([False, True])) == 100.0


def test_mending_the_only_kind_of_error_wins_all_that_was_lost():
    def scene(found):
        detections = [Label("Car", box, score=score) for box, score in found]
        return {str(i): CAR for i in range(41)}, {str(i): detections for i in range(41)}

    for found, kind in (
        ([(NEAR, 0.9)], "localisation"),
        ([(ON_TARGET, 0.9), (BOX, 0.9)], "duplicate"),
        ([(ON_TARGET, 0.9), (AWAY, 0.9)], "background"),
    ):
        truth, detections = scene(found)
        columns = from_labels(truth, list(truth), scored=False), from_labels(detections, list(truth), scored=True)
        won = gains(columns[0], diagnose(*columns, CLASSES), CLASSES)
        before = evaluate(truth, detections, CLASSES).kitti["Car"]["moderate"].AP40
        assert before < 100
        assert won.pop(kind) == pytest.approx(100 - before)
        assert set(won.values()) == {0.0}
