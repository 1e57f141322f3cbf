"""Turns move pixels and boxes exactly, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detector.inference.detections import Detections
from insight import rotation


@pytest.mark.parametrize("degrees", rotation.TURNS)
def test_a_box_stays_on_its_pixels(degrees: int) -> None:
    image = np.zeros((5, 9, 3), np.uint8)
    image[1:3, 2:7] = 255
    there = rotation.turned(image, degrees)
    x1, y1, x2, y2 = rotation.turned_boxes(np.array([[2, 1, 7, 3]], np.float32), (5, 9), degrees)[0].astype(int)
    assert there[y1:y2, x1:x2].all() and there.sum() == image.sum() == there[y1:y2, x1:x2].sum()


def test_a_quarter_turn_is_clockwise_and_four_are_none() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (rotation.turned(image, 90)[0, -1] == image[0, 0]).all()  # the upper left pixel is at the upper right
    boxes = np.array([[1, 2, 3.5, 4], [0, 0, 9, 5]], np.float32)
    assert rotation.turned_boxes(boxes, (5, 9), 90)[0].tolist() == [1, 1, 3, 3.5]  # (H - y2, x1, H - y1, x2)
    for _ in range(4):
        image = rotation.turned(image, 90)
    assert (image == np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).all()
    size, turned = (5, 9), boxes
    for _ in range(4):
        turned, size = rotation.turned_boxes(turned, size, 90), size[::-1]
    assert (turned == boxes).all()


@pytest.mark.parametrize("degrees", rotation.TURNS)
def test_turning_back_is_exact(degrees: int) -> None:
    boxes = np.array([[1, 2, 3.5, 4]], np.float32)
    there = rotation.turned_boxes(boxes, (5, 9), degrees)
    found = Detections(there, np.ones(1, np.float32), np.zeros(1, np.int64))
    assert (rotation.turned_back(found, (5, 9), degrees).boxes == boxes).all()


def test_the_command(weights: Path, root: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert rotation.main([str(weights), "--data", str(root), "--json", str(report), "--device", "cpu"]) == 0
    turns = json.loads(report.read_text())["networks"]["emca"]
    assert list(turns) == ["0", "90", "180", "270"] and all("mAP50" in row for row in turns.values())
