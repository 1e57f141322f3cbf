from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_pieces import ANCHORS, encode

from detector.network.yolov3.boxes import Coder, Grid, decode_maps, flatten_maps, make_grid

coordinate = st.floats(-6, 6, allow_nan=False)


def place(column, row, anchor, stride, dtype=torch.float64):
    return Grid(
        torch.tensor([[column, row]], dtype=dtype),
        torch.tensor([anchor], dtype=dtype),
        torch.tensor([[stride]], dtype=dtype),
    )


def test_decode_by_hand():
    at = place(3, 2, (16, 24), 8)
    raw = torch.tensor([[0.0, math.log(3), math.log(2), 0.0]], dtype=torch.float64)  # sigmoid(log 3) = 3/4
    # centre ((3 + 1/2) * 8, (2 + 3/4) * 8) = (28, 22); size (32, 24)
    assert Coder().decode(raw, at).tolist()[0] == pytest.approx([12, 10, 44, 34])
    # xy_scale 2: offsets 2 * 1/2 - 1/2 = 1/2 and 2 * 3/4 - 1/2 = 1; centre (28, 24)
    assert Coder(2.0).decode(raw, at).tolist()[0] == pytest.approx([12, 12, 44, 36])


def test_encode_by_hand():
    at = place(3, 2, (16, 24), 8)
    encoded = encode(Coder(), torch.tensor([[12.0, 10, 44, 34]], dtype=torch.float64), at)
    assert encoded.tolist()[0] == pytest.approx([0, math.log(3), math.log(2), 0])


@settings(deadline=None)
@given(
    t=st.tuples(coordinate, coordinate, st.floats(-4.1, 4.1), st.floats(-4.1, 4.1)),
    cell=st.tuples(st.integers(0, 155), st.integers(0, 55)),
    stride=st.sampled_from([8, 16, 32]),
    anchor=st.tuples(st.floats(2, 400), st.floats(2, 400)),
    xy_scale=st.sampled_from([1.0, 1.1, 2.0]),
)
def test_encode_undoes_decode_and_decode_undoes_encode(t, cell, stride, anchor, xy_scale):
    coder, at = Coder(xy_scale), place(*cell, anchor, stride)
    raw = torch.tensor([t], dtype=torch.float64)
    boxes = coder.decode(raw, at)
    torch.testing.assert_close(encode(coder, boxes, at), raw, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(coder.decode(encode(coder, boxes, at), at), boxes, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_wildest_logits_give_finite_boxes(dtype):
    raw = torch.full((1, 4), torch.finfo(dtype).max, dtype=dtype)
    at = place(10, 10, (100, 200), 32, dtype)
    assert Coder().decode(raw, at).isfinite().all()
    assert Coder().decode(-raw, at).isfinite().all()


def test_the_bound_of_sizes_lets_every_kitti_anchor_fill_the_input_it_serves():
    longest_need = math.log(448 / 10)  # the smallest anchor is 10 px wide, the input 448
    assert longest_need < Coder().size_limit
    assert math.exp(Coder().size_limit) * ANCHORS.max() < torch.finfo(torch.float16).max


def test_a_centre_on_the_far_border_is_encoded_to_within_a_thousandth_of_a_pixel():
    at = place(6, 6, (30, 30), 8, torch.float32)
    box = torch.tensor([[41.0, 41.0, 71.0, 71.0]])  # centre 56 = right edge of cell 6
    torch.testing.assert_close(Coder().decode(encode(Coder(), box, at), at), box, rtol=0, atol=1e-3)


def test_a_centre_out_of_reach_is_given_the_nearest_that_is_in_reach():
    at = place(3, 2, (16, 24), 8)
    share, size = Coder().fractions(torch.tensor([[-1000.0, 0, -990, 1e6]], dtype=torch.float64), at)
    assert share.tolist() == [[0, 1]]
    assert size[0].tolist() == pytest.approx([math.log(10 / 16), math.log(1000 / 16)])


def test_the_grid_counts_levels_rows_columns_anchors_in_this_order():
    grid = make_grid([(4, 6), (2, 3), (1, 2)], ANCHORS, (8, 16, 32))
    assert len(grid.cells) == 3 * (24 + 6 + 2)
    number = 3 * (2 * 6 + 5) + 1  # stride 8, row 2, column 5, second anchor
    assert grid.cells[number].tolist() == [5, 2]
    assert grid.anchors[number].tolist() == ANCHORS[0, 1].tolist()
    assert grid.strides[number].tolist() == [8]
    number = 3 * 24 + 3 * (1 * 3 + 0) + 2  # stride 16, row 1, column 0, third anchor
    assert grid.cells[number].tolist() == [0, 1]
    assert grid.anchors[number].tolist() == ANCHORS[1, 2].tolist()


def test_448_square_gives_12348_predictions():
    grid = make_grid([(56, 56), (28, 28), (14, 14)], ANCHORS, (8, 16, 32))
    assert len(grid.cells) == 12348


def test_a_raw_channel_lands_at_its_anchor_place_and_meaning():
    raw_maps = [torch.zeros(2, 3 * 7, h, w) for h, w in ((4, 6), (2, 3), (1, 2))]
    raw_maps[0][1, 2 * 7 + 4, 1, 2] = 5.0  # image 1, third anchor, objectness, row 1, column 2 at stride 8
    flat = flatten_maps(raw_maps, 3)
    assert flat.shape == (2, 96, 7)
    assert flat.nonzero().tolist() == [[1, 3 * (1 * 6 + 2) + 2, 4]]


def test_memory_format_does_not_change_the_order():
    raw_maps = [torch.randn(2, 21, 4, 6), torch.randn(2, 21, 2, 3), torch.randn(2, 21, 1, 2)]
    turned = [raw.to(memory_format=torch.channels_last) for raw in raw_maps]
    assert torch.equal(flatten_maps(raw_maps, 3), flatten_maps(turned, 3))


def test_decode_maps_splits_boxes_objectness_and_classes():
    raw_maps = [torch.randn(1, 21, 4, 6), torch.randn(1, 21, 2, 3), torch.randn(1, 21, 1, 2)]
    boxes, objectness, classes = decode_maps(raw_maps, ANCHORS, (8, 16, 32), Coder())
    assert (boxes.shape, objectness.shape, classes.shape) == ((1, 96, 4), (1, 96), (1, 96, 2))
    # stride 32, row 0, column 1, first anchor
    x, y, w, h = raw_maps[2][0, :4, 0, 1].tolist()
    centre = 32 * (1 + 1 / (1 + math.exp(-x))), 32 / (1 + math.exp(-y))
    size = ANCHORS[2, 0, 0] * math.exp(w), ANCHORS[2, 0, 1] * math.exp(h)
    by_hand = [centre[0] - size[0] / 2, centre[1] - size[1] / 2, centre[0] + size[0] / 2, centre[1] + size[1] / 2]
    assert boxes[0, 93].tolist() == pytest.approx([float(v) for v in by_hand], rel=1e-5)
    assert objectness[0, 93] == raw_maps[2][0, 4, 0, 1]
    assert classes[0, 93].tolist() == raw_maps[2][0, 5:7, 0, 1].tolist()


def test_half_precision_maps_are_decoded_in_float32():
    raw_maps = [torch.randn(1, 21, h, w).half() for h, w in ((4, 6), (2, 3), (1, 2))]
    boxes, _, _ = decode_maps(raw_maps, ANCHORS, (8, 16, 32), Coder())
    assert boxes.dtype == torch.float32
