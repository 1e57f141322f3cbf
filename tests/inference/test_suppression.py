from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from data.resize import fit
from detector.inference.suppression import averaged, select, suppress

SAME = fit((64, 96), (64, 96), "stretch")


def crowd(count, classes=3, seed=0):
    random = np.random.default_rng(seed)
    centre, size = random.uniform(0, 200, (count, 2)), random.uniform(10, 60, (count, 2))
    boxes = np.concatenate((centre - size / 2, centre + size / 2), 1).astype(np.float32)
    return boxes, random.permutation(count).astype(np.float32) / count, random.integers(0, classes, count)


@pytest.mark.parametrize("count", [0, 1, 7, 255, 256, 257, 1200])
@pytest.mark.parametrize("iou", [0.2, 0.45, 0.9])
def test_the_kept_are_those_of_torchvision(count, iou):
    boxes, scores, labels = crowd(count)
    order = np.argsort(-scores)
    kept = order[suppress(boxes[order], labels[order], iou, count)]
    # torchvision's own way for many boxes: one class after the other, without shifting any
    expected = []
    for label in range(3):
        rows = np.flatnonzero(labels == label)
        one = batched_nms(torch.from_numpy(boxes[rows]), torch.from_numpy(scores[rows]), torch.zeros(len(rows)), iou)
        expected += rows[one.numpy()].tolist()
    assert kept.tolist() == sorted(expected, key=lambda row: -scores[row])


def test_it_stops_when_enough_are_kept():
    boxes, _, labels = crowd(1000)
    everything = suppress(boxes, labels, 0.45, 1000)
    assert len(everything) > 100
    np.testing.assert_array_equal(suppress(boxes, labels, 0.45, 40), everything[:40])


def test_a_pair_exactly_at_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # IoU 0.5
    labels = np.zeros(2, int)
    assert suppress(boxes, labels, 0.5, 9).tolist() == [0, 1]
    assert suppress(boxes, labels, 0.49, 9).tolist() == [0]
    assert suppress(boxes, np.array([0, 1]), 0.49, 9).tolist() == [0, 1]


def test_boxes_without_area_do_no_harm():
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3], [9, 9, 5, 5]], np.float32)
    assert suppress(boxes, np.zeros(3, int), 0.45, 9).tolist() == [0, 1, 2]


def test_select_by_hand():
    boxes = np.array([[[10, 10, 30, 30], [11, 10, 31, 30], [50, 20, 120, 80]]], np.float32)
    scores = np.array([[[0.9, 0.3], [0.8, 0.2], [0.1, 0.6]]], np.float32)
    (found,) = select(boxes, scores, [SAME], 0.25, 0.45)
    assert found.labels.tolist() == [0, 1, 1]  # row 1 falls to row 0 in class 0; row 0 is also a weak 1
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.3])
    aside = 0.8 * (19 / 21) / (0.9 + 0.8 * (19 / 21))  # row 1, 1 px aside, counts by score and overlap
    assert found.boxes.tolist()[0] == pytest.approx([10 + aside, 10, 30 + aside, 30])
    assert found.boxes.tolist()[1:] == [[50, 20, 96, 64], [10, 10, 30, 30]]
    assert found.boxes.dtype == np.float32 and found.scores.dtype == np.float32 and found.labels.dtype == np.int64


def test_a_box_without_area_stays_where_it_is():
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3]], np.float32)
    only_one = averaged(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, int), np.array([0]), 0.45)
    assert only_one.tolist() == [[3, 3, 3, 3]]


def test_only_the_best_candidates_reach_suppression():
    boxes, scores, _ = crowd(500)
    (few,) = select(boxes[None], scores[None, :, None], [SAME], 0.0, 1.0, candidates=20)
    np.testing.assert_allclose(few.scores, np.sort(scores)[::-1][:20])


def test_nothing_found_gives_empty_arrays():
    found, other = select(np.zeros((2, 5, 4), np.float32), np.zeros((2, 5, 3), np.float32), [SAME, SAME], 0.25, 0.45)
    assert found.boxes.shape == (0, 4) and len(other) == 0
