from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_dataset import make_dataset

from data.anchors import COCO, box_shapes, find_anchors, fitness, main, shape_iou
from data.formats.kitti import class_set, read_labels


def test_shape_iou_by_hand() -> None:
    iou = shape_iou(np.array([[10.0, 20.0]]), np.array([[10.0, 20.0], [20.0, 10.0], [5.0, 10.0]]))
    assert iou.tolist() == [[1.0, 100 / 300, 0.25]]


def test_k_means_finds_the_groups_the_shapes_were_made_of() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[10.0, 12], [40, 20], [30, 90], [150, 100]])
    shapes = (centres[:, None] * rng.uniform(0.95, 1.05, (4, 50, 2))).reshape(-1, 2)
    anchors = find_anchors(shapes, 4)
    assert np.abs(anchors / centres - 1).max() < 0.02
    mean, recall = fitness(shapes, anchors)
    assert mean > 0.9
    assert recall == 1


def test_the_same_shapes_give_the_same_anchors_sorted_by_area() -> None:
    shapes = np.random.default_rng(1).uniform(5, 200, (500, 2))
    first, second = find_anchors(shapes), find_anchors(shapes)
    assert (first == second).all()
    assert (np.diff(first.prod(axis=1)) >= 0).all()
    assert fitness(shapes, first)[0] > fitness(shapes, np.array(COCO, float))[0]


def test_shapes_are_those_at_the_input_size_of_classes_in_the_set(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "Car 0 0 0 -50 10 100 60 1 1 1 1 1 1 0\n"  # sticks out of the image on the left: 100 x 50 are inside
        "Van 0 0 0 0 0 10 10 1 1 1 1 1 1 0\nDontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )
    shapes = box_shapes([(read_labels(path), (100, 400))], class_set("kitti3"), (200, 200), "stretch")
    assert shapes.tolist() == [[50, 100]]


def test_the_command_reads_a_data_set_or_a_folder_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_dataset(tmp_path / "kitti")
    for number, path in enumerate(sorted((root / "training/label_2").iterdir())):
        path.write_text("".join(f"Car 0 0 0 1 1 {10 + 9 * k + number} {8 + 4 * k} 1 1 1 1 1 1 0\n" for k in range(8)))
    assert main([str(root), "--size", "64x160"]) == 0
    assert main([str(root / "training/label_2"), "--resize", "letterbox"]) == 0
    out = capsys.readouterr().out
    assert out.count("anchors: [[") == 2
    assert "48 objects at 64x160" in out
    assert out.count("COCO") == 2


def test_the_command_tells_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    root = make_dataset(tmp_path / "kitti", frames=2)
    assert main([str(root)]) == 2
    assert "fewer than 9 different shapes" in capsys.readouterr().err
