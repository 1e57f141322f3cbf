"""One limit for all classes, or one for each."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from data.resize import fit
from detector.inference.decode import select
from detector.inference.thresholds import Thresholds, lowest, thresholds

CLASSES = ("Car", "Pedestrian", "Cyclist")


def test_the_words_of_a_command_line() -> None:
    assert thresholds("0.4") == Thresholds(0.4)
    assert thresholds("Car=.5,Pedestrian=.3") == Thresholds(0.25, {"Car": 0.5, "Pedestrian": 0.3})
    assert thresholds(".2, Car=.5") == Thresholds(0.2, {"Car": 0.5})
    for text in ("Car", "Car=", "2", "Car=2", "", "Car=.5,"):
        with pytest.raises(argparse.ArgumentTypeError):
            thresholds(text)


def test_a_limit_a_class_and_none_for_what_is_not_wanted() -> None:
    assert Thresholds(0.4).of(CLASSES) == 0.4 == lowest(0.4)
    limits = Thresholds(0.25, {"Car": 0.5}, ("Car", "Cyclist"))
    assert limits.of(CLASSES).tolist() == [0.5, np.inf, 0.25]
    assert limits.lowest == lowest(limits.of(CLASSES)) == 0.25
    assert Thresholds(0.25, {"Car": 0.5}, ("Car",)).lowest == 0.5
    with pytest.raises(ValueError, match="unknown class 'Bus'"):
        Thresholds(only=("Bus",)).of(CLASSES)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Thresholds(named={"Car": 3})


def test_what_does_not_count_takes_no_part_in_suppression() -> None:
    """Two cars overlap; the weaker one is below its limit, so the better box is not averaged with it."""
    boxes = np.array([[[10, 10, 50, 50], [12, 10, 52, 50], [10, 10, 50, 50]]], np.float32)
    scores = np.array([[[0.9, 0, 0], [0.4, 0, 0], [0, 0.35, 0.8]]], np.float32)
    geometry = fit((64, 64), (64, 64), "letterbox")
    (averaged,) = select(boxes, scores, [geometry], 0.3, 0.45)
    assert averaged.boxes[0, 0] > 10.5 and averaged.labels.tolist() == [0, 2, 1]
    limits = Thresholds(0.3, {"Car": 0.5}, ("Car", "Pedestrian")).of(CLASSES)
    (found,) = select(boxes, scores, [geometry], limits, 0.45)
    assert found.boxes.tolist() == [[10, 10, 50, 50]] * 2 and found.labels.tolist() == [0, 1]
