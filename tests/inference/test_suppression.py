from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from data.resize import fit
from detector.inference.decode import select
from detector.inference.suppression import _take_in_turn, suppress

SAME = fit((64, 96), (64, 96), "stretch")


def crowd(count, classes=3, seed=0):
    random = np.random.default_rng(seed)
    centre, size = random.uniform(0, 200, (count, 2)), random.uniform(10, 60, (count, 2))
    boxes = np.concatenate((centre - size / 2, centre + size / 2), 1).astype(np.float32)
    return boxes, random.permutation(count).astype(np.float32) / count, random.integers(0, classes, count)


def slow_iou(a, b):
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - max(w, 0) * max(h, 0)
    return max(w, 0) * max(h, 0) / union if union > 0 else 0.0


@pytest.mark.parametrize("count", [0, 1, 7, 300])
@pytest.mark.parametrize("iou", [0.2, 0.45, 0.9])
def test_the_heads_of_the_heaps_are_those_of_torchvision(count, iou):
    """Before averages are looked at again: torchvision knows suppression, not averages."""
    boxes, scores, labels = crowd(count)
    order = np.argsort(-scores)
    kept, _ = _take_in_turn(boxes[order], scores[order], labels[order], iou, count + 1)
    # torchvision's own way for many boxes: one class after the other, without shifting any
    expected = []
    for label in range(3):
        rows = np.flatnonzero(labels == label)
        one = batched_nms(torch.from_numpy(boxes[rows]), torch.from_numpy(scores[rows]), torch.zeros(len(rows)), iou)
        expected += rows[one.numpy()].tolist()
    assert order[kept].tolist() == sorted(expected, key=lambda row: -scores[row])


def test_it_stops_when_enough_are_kept():
    boxes, scores, labels = crowd(1000)
    everything, few = (suppress(boxes, scores, labels, 0.9, limit)[0] for limit in (1000, 40))
    assert len(everything) > 500 and len(few) == 40
    np.testing.assert_array_equal(few, everything[:40])


def test_averages_that_move_together_leave_the_better_one():
    boxes, scores, labels = crowd(400)
    found, _, classes = suppress(boxes, scores, labels, 0.3)
    pairs = [(a, b) for a in range(len(found)) for b in range(a) if classes[a] == classes[b]]
    assert len(pairs) > 100 and max(slow_iou(found[a], found[b]) for a, b in pairs) <= 0.3


def test_a_pair_exactly_at_the_threshold_stays():
    boxes, scores = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32), np.array([0.9, 0.8], np.float32)  # IoU 0.5
    same, other = np.array([0, 0]), np.array([0, 1])
    assert suppress(boxes, scores, same, 0.5)[1].tolist() == scores.tolist()
    assert suppress(boxes, scores, same, 0.49)[1].tolist() == scores[:1].tolist()
    assert suppress(boxes, scores, other, 0.49)[1].tolist() == scores.tolist()


def test_boxes_without_area_do_no_harm_and_stay_where_they_are():
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3], [9, 9, 5, 5]], np.float32)
    found, _, _ = suppress(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, int), 0.45)
    assert found.tolist() == boxes.tolist()


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


def test_only_the_best_candidates_reach_suppression():
    boxes, scores, _ = crowd(500)
    (few,) = select(boxes[None], scores[None, :, None], [SAME], 0.0, 1.0, candidates=20)
    np.testing.assert_allclose(few.scores, np.sort(scores)[::-1][:20])


def test_nothing_found_gives_empty_arrays():
    found, other = select(np.zeros((2, 5, 4), np.float32), np.zeros((2, 5, 3), np.float32), [SAME, SAME], 0.25, 0.45)
    assert found.boxes.shape == (0, 4) and len(other) == 0
