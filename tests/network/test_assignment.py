from __future__ import annotations

import pytest
import slow_reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_pieces import ANCHORS, targets_of

from detector.network.settings import LossSettings
from detector.network.yolov3 import assignment
from detector.network.yolov3.assignment import assign, pad_by_image, positives
from detector.network.yolov3.boxes import make_grid

SIZES = [(8, 12), (4, 6), (2, 3)]  # a 96 x 64 input
STRIDES = (8, 16, 32)
STARTS = [0, 3 * 96, 3 * 96 + 3 * 24]


def place(number):
    """Flat prediction -> (level, row, column, anchor)."""
    level = max(k for k in range(3) if number >= STARTS[k])
    cell, anchor = divmod(number - STARTS[level], 3)
    return level, *divmod(cell, SIZES[level][1]), anchor


def found(objects, rule="best", ratio=4.0, anchors=ANCHORS):
    image, index, row = positives(targets_of(objects), anchors, SIZES, STRIDES, rule, ratio)
    return {(i, *place(n)): r for i, n, r in zip(image.tolist(), index.tolist(), row.tolist(), strict=True)}


def boxed(x, y, w, h):
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def test_best_takes_the_anchor_of_the_same_shape_at_the_cell_of_the_centre():
    # 24 x 173 is anchor 0 of stride 32; centre (70, 40) lies in column 2, row 1 there
    assert found([(0, 1, *boxed(70, 40, 24, 173))]) == {(0, 2, 1, 2, 0): 0}
    # 15 x 36 is anchor 2 of stride 8; centre (17, 33) lies in column 2, row 4
    assert found([(0, 1, *boxed(17, 33, 15, 36))]) == {(0, 0, 4, 2, 2): 0}


def test_neighbours_adds_the_nearer_cells_in_x_and_y():
    anchors = torch.full((3, 3, 2), 1000.0)
    anchors[0, 1] = torch.tensor([20.0, 20])
    # centre (18, 38): column 2 + 0.25 -> left neighbour; row 4 + 0.75 -> lower neighbour
    assert found([(0, 0, *boxed(18, 38, 20, 20))], "neighbours", anchors=anchors) == {
        (0, 0, 4, 2, 1): 0,
        (0, 0, 4, 1, 1): 0,
        (0, 0, 5, 2, 1): 0,
    }


def test_neighbours_stay_on_the_grid():
    anchors = torch.full((3, 3, 2), 1000.0)
    anchors[0, 0] = torch.tensor([2.0, 2])
    assert found([(0, 0, *boxed(1, 1, 2, 2))], "neighbours", anchors=anchors) == {(0, 0, 0, 0, 0): 0}
    assert found([(0, 0, *boxed(95, 63, 2, 2))], "neighbours", anchors=anchors) == {(0, 0, 7, 11, 0): 0}


def test_neighbours_takes_every_anchor_within_the_ratio_and_the_best_when_none_is():
    square = [(0, 0, *boxed(36, 36, 20, 20))]
    levels_anchors = {key[1:2] + key[4:] for key in found(square, "neighbours", ratio=3.5)}
    fits = {
        (k // 3, k % 3) for k, (w, h) in enumerate(ANCHORS.view(-1, 2).tolist()) if max(20 / w, w / 20, h / 20) < 3.5
    }
    assert levels_anchors == fits
    flat = [(0, 0, *boxed(48, 32, 90, 1))]  # 90 x 1 fits no anchor; 28 x 41 overlaps it best: 28 / (90 + 1148 - 28)
    assert {key[1:2] + key[4:] for key in found(flat, "neighbours")} == {key[1:2] + key[4:] for key in found(flat)}


def test_an_object_on_the_very_border_belongs_to_the_last_cell():
    assert found([(0, 0, 90, 58, 102, 70)]).keys() == found([(0, 0, 89, 57, 101, 69)]).keys()


def test_a_tiny_object_has_a_positive_and_one_without_area_none():
    assert len(found([(0, 0, 30, 30, 30.25, 30.5)])) == 1
    assert found([(0, 0, 30, 30, 30, 40)]) == {}
    assert found([(0, 0, 30, 30, 30, 40)], "neighbours") == {}


def test_of_two_objects_at_one_place_the_better_shape_wins_and_of_equals_the_first():
    nearly, exactly = (0, 0, *boxed(20, 20, 14, 34)), (0, 1, *boxed(21, 21, 15, 36))
    assert list(found([nearly, exactly]).values()) == [1]
    assert list(found([exactly, nearly]).values()) == [0]
    assert list(found([exactly, exactly]).values()) == [0]


def test_an_object_in_its_own_cell_goes_before_a_better_shaped_neighbour():
    anchors = torch.full((3, 3, 2), 1000.0)
    anchors[0, 0] = torch.tensor([20.0, 20])
    neighbour, owner = (0, 0, *boxed(15, 20, 20, 20)), (0, 0, *boxed(20, 20, 12, 12))
    taken = found([neighbour, owner], "neighbours", anchors=anchors)
    assert taken[0, 0, 2, 2, 0] == 1  # the neighbour at column 1.875 reaches for column 2, where the owner lives
    assert taken[0, 0, 2, 1, 0] == 0


def test_objects_of_different_images_do_not_meet():
    box = boxed(20, 20, 15, 36)
    assert found([(0, 0, *box), (3, 0, *box)]) == {(0, 0, 2, 2, 2): 0, (3, 0, 2, 2, 2): 1}


quarter = st.integers(0, 4 * 96).map(lambda q: q / 4)
an_object = st.tuples(st.integers(0, 2), st.integers(0, 2), quarter, quarter, quarter, quarter).map(
    lambda o: (o[0], o[1], *boxed(o[2], min(o[3], 64), max(o[4], 0.25), max(o[5], 0.25)))
)


@settings(max_examples=100, deadline=None)
@given(objects=st.lists(an_object, max_size=12), rule=st.sampled_from(["best", "neighbours"]))
def test_assignment_agrees_with_plain_loops(objects, rule):
    image, index, row = positives(targets_of(objects, dtype=torch.float64), ANCHORS.double(), SIZES, STRIDES, rule, 4.0)
    ours = {(i, *place(n)): r for i, n, r in zip(image.tolist(), index.tolist(), row.tolist(), strict=True)}
    assert len(ours) == len(index), "a prediction answers for two objects"
    plain = [(o[0], o[1], o[2:]) for o in objects]
    assert ours == slow_reference.assignment(3, plain, ANCHORS.double().tolist(), SIZES, STRIDES, rule, 4.0)


def predictions_at_anchors(batch):
    grid = make_grid(SIZES, ANCHORS, STRIDES)
    centre = (grid.cells + 0.5) * grid.strides
    return torch.cat((centre - grid.anchors / 2, centre + grid.anchors / 2), 1).expand(batch, -1, -1)


def test_a_good_prediction_beside_the_positive_is_not_punished():
    # 40 x 71 at (40, 40) is the third anchor of stride 16 in row 2, column 2; the prediction of the next column lies
    # 16 px aside: IoU = 24 / (40 + 16) = 0.43
    targets = targets_of([(0, 0, *boxed(40, 40, 40, 71))])
    number = STARTS[1] + 3 * (2 * 6 + 3) + 2
    for threshold, punished in ((0.4, False), (0.45, True), (1.0, True)):
        result = assign(predictions_at_anchors(2), targets, ANCHORS, SIZES, STRIDES, LossSettings(ignore_iou=threshold))
        assert bool(result.negative[0, number]) == punished
        assert bool(result.negative[1, number]), "an object of another image spared this prediction"


def test_predictions_mostly_inside_an_ignore_region_are_neither_positive_nor_negative():
    # the first anchor of stride 8 (10 x 24) at row 3, column 5 covers x 39..49, y 16..40
    number = 3 * (3 * 12 + 5)
    for region, spared in (((0, 39, 16, 45, 40), True), ((0, 39, 16, 43, 40), False), ((1, 39, 16, 49, 40), False)):
        result = assign(predictions_at_anchors(2), targets_of([], [region]), ANCHORS, SIZES, STRIDES, LossSettings())
        assert bool(result.negative[0, number]) != spared
        assert len(result.index) == 0


def test_a_labelled_object_within_an_ignore_region_is_still_learnt():
    targets = targets_of([(0, 0, *boxed(40, 40, 40, 71))], [(0, 0, 0, 96, 64)])
    result = assign(predictions_at_anchors(1), targets, ANCHORS, SIZES, STRIDES, LossSettings())
    assert result.index.tolist() == [STARTS[1] + 3 * (2 * 6 + 2) + 2]


def test_positives_are_no_negatives_and_the_shares_of_an_object_sum_to_one():
    objects = [(0, 0, *boxed(40, 40, 40, 71)), (0, 1, *boxed(44, 40, 38, 70)), (1, 0, *boxed(10, 10, 9, 20))]
    chosen = LossSettings(assignment="neighbours", ignore_iou=1)
    result = assign(predictions_at_anchors(2), targets_of(objects), ANCHORS, SIZES, STRIDES, chosen)
    assert not result.negative[result.image, result.index].any()
    sums = torch.zeros(3).index_add_(0, result.row, result.share)
    torch.testing.assert_close(sums, torch.ones(3))


def test_comparing_in_parts_changes_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    centre = torch.rand(30, 2, generator=generator) * torch.tensor([96.0, 64])
    size = torch.rand(30, 2, generator=generator) * 60 + 2
    corners = torch.cat((centre - size / 2, centre + size / 2), 1).tolist()
    targets = targets_of(
        [(k % 2, 0, *box) for k, box in enumerate(corners)], [(k % 2, *b) for k, b in enumerate(corners[:6])]
    )
    whole = assign(predictions_at_anchors(2), targets, ANCHORS, SIZES, STRIDES, LossSettings(ignore_iou=0.3))
    monkeypatch.setattr(assignment, "_MAX_PAIRS", 100)
    parts = assign(predictions_at_anchors(2), targets, ANCHORS, SIZES, STRIDES, LossSettings(ignore_iou=0.3))
    assert 0 < whole.negative.sum() < whole.negative.numel()
    assert torch.equal(whole.negative, parts.negative)


def test_padding_keeps_each_box_with_its_image():
    boxes = torch.arange(12.0).view(3, 4)
    padded = pad_by_image(boxes, torch.tensor([2, 0, 2]), 4)
    assert padded.shape == (4, 2, 4)
    assert padded[2].tolist() == [boxes[0].tolist(), boxes[2].tolist()]
    assert padded[0].tolist() == [boxes[1].tolist(), [0] * 4]
    assert padded[[1, 3]].count_nonzero() == 0
    assert pad_by_image(boxes[:0], torch.zeros(0, dtype=torch.long), 4).shape == (4, 0, 4)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_winner_does_not_depend_on_the_order_of_unequal_objects(order):
    objects = [(0, k, *boxed(20, 20, 15 - k, 36 - k)) for k in range(3)]
    taken = found([objects[k] for k in order])
    winner = order[taken[0, 0, 2, 2, 2]]
    assert winner == 0
