from __future__ import annotations

import json

import pytest

from data.annotation import Annotation
from data.formats.kitti import CLASSES, Label, read_labels
from detector.evaluation.columns import ResultError, from_labels
from detector.evaluation.evaluator import COCO_EVALUATORS, evaluate, evaluate_columns
from detector.evaluation.kitti_files import frames_of

BOX = (100.0, 100.0, 200.0, 180.0)


def labels_in(folder):
    return {frame: read_labels(folder / f"{frame}.txt") for frame in frames_of(folder)}


def test_labels_in_memory_give_the_numbers_of_the_files(small):
    in_memory = evaluate(labels_in(small.labels), labels_in(small.detections), CLASSES)
    assert in_memory.to_json() == evaluate_columns(*small.columns(), CLASSES).to_json()


def test_the_json_has_the_documented_form(small):
    numbers = json.loads(json.dumps(evaluate_columns(*small.columns(), CLASSES).to_json(), allow_nan=False))
    assert list(numbers) == ["images", "classes", "kitti", "coco", "mAP50", "speed"]
    assert (numbers["images"], numbers["classes"], numbers["speed"]) == (24, list(CLASSES), {})
    assert list(numbers["kitti"]) == ["Car", "Pedestrian", "Cyclist"]
    for name, levels in numbers["kitti"].items():
        assert list(levels) == ["easy", "moderate", "hard"]
        for level, cell in levels.items():
            expected = small.expected["kitti"][name][level]
            assert list(cell) == ["AP40", "AP11", "n_gt"]
            assert cell == {key: pytest.approx(expected[key], abs=1e-9) for key in cell}
    assert numbers["coco"]["stats"] == small.expected["coco"]["stats"]
    assert list(numbers["coco"]["per_class"]["Car"]) == ["AP", "AP50", "n_gt"]


def test_both_coco_evaluators_give_the_same_evaluation(sparse):
    arrays, reference = (evaluate_columns(*sparse.columns(), CLASSES, coco=name) for name in ("arrays", "pycocotools"))
    assert arrays.to_json() == reference.to_json()
    assert arrays.table() == reference.table()


def test_the_table_names_its_protocol_and_fits_80_columns(small, sparse):
    for case in (small, sparse):
        table = evaluate_columns(
            *case.columns(),
            CLASSES,
            speed={"preprocess_ms": 1.0, "network_ms": 20.0, "postprocess_ms": 3.0, "images_per_s": 41.7},
        ).table()
        assert "AP40" in table.splitlines()[0]
        assert "IoU 0.7/0.5/0.5" in table.splitlines()[0]
        assert "network 20.0" in table
        assert "41.7 images/s" in table
        assert max(map(len, table.splitlines())) <= 80


def test_a_class_without_objects_is_left_out_of_mAP50_and_said_so(sparse):
    evaluation = evaluate_columns(*sparse.columns(), CLASSES)
    assert evaluation.kitti["Cyclist"]["easy"].AP40 == 0.0
    assert evaluation.coco.per_class["Cyclist"]["AP50"] == -1.0
    assert any("Cyclist" in note and "mAP50" in note for note in evaluation.notes())
    cyclist = next(line for line in evaluation.table().splitlines() if line.startswith("Cyclist"))
    assert cyclist.split() == ["Cyclist", "-", "-", "-", "-", "-", "-", "0/0/0"]


def test_fewer_than_41_objects_are_said_to_keep_ap40_below_100():
    def found(n: int) -> list[str]:
        labels = {str(i): [Label("Car", BOX, 0.0, 0)] for i in range(n)}
        return evaluate(labels, {k: [Label("Car", BOX, score=0.5)] for k in labels}, ("Car",)).notes()

    assert any("AP40" in note and "Car easy (40)" in note for note in found(40))
    assert found(41) == []


def test_no_detections_at_all_and_no_objects_at_all_are_zero_not_an_error():
    objects = {"0": [Label("Car", BOX, 0.0, 0)], "1": []}
    for ground_truth, detections in ((objects, {}), (objects, {"0": [], "1": []}), ({"0": []}, {"0": []})):
        evaluation = evaluate(ground_truth, detections, CLASSES)
        assert evaluation.mAP50 == 0.0
        assert evaluation.kitti["Car"]["hard"].AP40 == 0.0
        json.dumps(evaluation.to_json(), allow_nan=False)
        assert evaluation.table()


def test_detections_of_a_frame_without_ground_truth_are_an_error():
    with pytest.raises(ResultError, match="frame 9"):
        evaluate({"0": []}, {"9": []}, CLASSES)


def test_only_the_chosen_classes_are_scored(small):
    evaluation = evaluate_columns(*small.columns(), ("Pedestrian", "Tram"))
    whole = evaluate_columns(*small.columns(), CLASSES)
    assert list(evaluation.kitti) == ["Pedestrian"]
    assert list(evaluation.coco.per_class) == ["Pedestrian", "Tram"]
    assert evaluation.kitti["Pedestrian"]["hard"].AP40 == whole.kitti["Pedestrian"]["hard"].AP40
    assert evaluation.coco.per_class["Tram"] == whole.coco.per_class["Tram"]


def test_classes_that_are_not_kittis_have_coco_numbers_and_no_kitti_table():
    truth = {"0": [Annotation("bus", BOX), Annotation("traffic light", (10.0, 10.0, 20.0, 40.0))], "1": []}
    far = (600.0, 100.0, 700.0, 180.0)
    found = {"0": [Annotation("bus", BOX, score=0.9), Annotation("traffic light", far, score=0.5)]}
    for coco in COCO_EVALUATORS:
        columns = from_labels(truth, ["0", "1"], scored=False), from_labels(found, ["0", "1"], scored=True)
        evaluation = evaluate_columns(*columns, ("bus", "traffic light"), coco)
        assert evaluation.kitti == evaluation.to_json()["kitti"] == {}
        assert evaluation.coco.per_class == {
            "bus": pytest.approx({"AP": 1.0, "AP50": 1.0, "n_gt": 1}),
            "traffic light": {"AP": 0.0, "AP50": 0.0, "n_gt": 1},
        }
        assert evaluation.mAP50 == pytest.approx(0.5)
        assert "KITTI" not in evaluation.table()
        assert "traffic light" in evaluation.table()


def test_cars_without_kittis_attributes_have_no_kitti_ap():
    """COCO has a class of that name too; who knows no occlusion cannot tell easy from hard."""
    found = {"0": [Annotation("Car", BOX, score=0.9)]}
    assert evaluate({"0": [Annotation("Car", BOX)]}, found, ("Car",)).kitti == {}
    assert evaluate({"0": [Annotation("Car", BOX), Label("Car", BOX, 0.0, 1)]}, found, ("Car",)).kitti
    assert evaluate({"0": [Label("DontCare", BOX)]}, found, ("Car",)).kitti  # a region lacks them always


def test_a_region_to_ignore_is_a_crowd_of_its_class_or_of_all_if_it_has_none():
    region = (600.0, 100.0, 700.0, 180.0)
    found = {"0": [Annotation(name, box, score=0.5) for name in ("bus", "tram") for box in (BOX, region)]}
    for name, mended in (("bus", ("bus",)), ("tram", ("tram",)), ("", ("bus", "tram"))):
        objects = [Annotation("bus", BOX), Annotation("tram", BOX)]
        truth = {"0": [*objects, Annotation(name, region, ignore=True)]}
        # The wrong detection comes first in file, and best first among equals: it costs half of the precision.
        best_first = {"0": [*found["0"][1::2], *found["0"][::2]]}
        for coco in COCO_EVALUATORS:
            columns = from_labels(truth, ["0"], scored=False), from_labels(best_first, ["0"], scored=True)
            numbers = evaluate_columns(*columns, ("bus", "tram"), coco).coco.per_class
            for other in ("bus", "tram"):
                assert numbers[other]["n_gt"] == 1
                assert numbers[other]["AP50"] == pytest.approx(1.0 if other in mended else 0.5)
