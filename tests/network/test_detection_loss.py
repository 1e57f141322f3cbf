from __future__ import annotations

import math

import pytest
import slow_reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_pieces import ANCHORS, targets_of

from detector.network.settings import LossSettings
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.loss import DetectionLoss, paired_iou

STRIDES = (8, 16, 32)
KINDS = [
    {"kind": "yolov3"},
    {"kind": "ciou", "assignment": "neighbours", "objectness_iou_target": True, "ignore_iou": 1.0},
]


def criterion(num_classes=2, xy_scale=2.0, anchors=ANCHORS, **options):
    return DetectionLoss(anchors, STRIDES, num_classes, Coder(xy_scale), LossSettings(**options))


def maps(batch=1, height=64, width=96, num_classes=2, dtype=torch.float32, fill=None, per_level=3):
    made = []
    for stride in STRIDES:
        shape = (batch, per_level * (5 + num_classes), height // stride, width // stride)
        made.append(torch.randn(shape, dtype=dtype) if fill is None else torch.full(shape, fill, dtype=dtype))
    return made


def boxed(x, y, w, h):
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


# By hand. A 64 x 96 input has 3 * (96 + 24 + 6) = 378 predictions; with raw maps of zeros each of them costs ln 2.


def test_all_zero_maps_without_objects_cost_ln2_a_prediction():
    parts = criterion(gain=1)(maps(fill=0.0), targets_of())
    assert parts["objectness"].item() == pytest.approx(378 * math.log(2), rel=1e-6)
    assert parts["box"].item() == 0 and parts["classes"].item() == 0
    assert parts["total"].item() == pytest.approx(378 * math.log(2), rel=1e-6)


def test_yolov3_parts_of_one_object_by_hand():
    # The third anchor of stride 8 is 15 x 36. An object twice as wide, three quarters of the way through its cell.
    box = boxed(8 * 4.75, 8 * 3.75, 30, 36)
    parts = criterion(xy_scale=1.0, gain=1, ignore_iou=1)(maps(fill=0.0), targets_of([(0, 1, *box)]))
    # best shape for 30 x 36 is the first anchor of stride 16 (28 x 41): column 2, row 1, offsets 0.375, 0.875
    small = 2 - 30 * 36 / (64 * 96)
    squares = (math.log(30 / 28) ** 2 + math.log(36 / 41) ** 2) / 2
    assert parts["box"].item() == pytest.approx(small * (2 * math.log(2) + squares), rel=1e-5)  # BCE(0, any) = ln 2
    assert parts["objectness"].item() == pytest.approx(378 * math.log(2), rel=1e-6)
    assert parts["classes"].item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_ciou_of_one_object_by_hand():
    # The third anchor of stride 32 is 102 x 214; zeros predict that size in the middle of every cell.
    box = boxed(99, 16, 102, 214)
    anchors = torch.full((3, 3, 2), 1.0)
    anchors[2, 2] = torch.tensor([102.0, 214])
    raw_maps = maps(width=160, fill=0.0)
    parts = criterion(kind="ciou", gain=1, anchors=anchors, ignore_iou=1)(raw_maps, targets_of([(0, 0, *box)]))
    # column 3 (96..128) predicts a centre of 112: 13 px away, IoU = 89 / 115, enclosing box 115 x 214
    expected = 1 - 89 / 115 + 13**2 / (115**2 + 214**2)
    assert parts["box"].item() == pytest.approx(expected, rel=1e-5)


def test_objectness_aims_at_the_iou_when_asked():
    anchors = torch.full((3, 3, 2), 1.0)
    anchors[2, 2] = torch.tensor([102.0, 214])
    raw_maps = maps(width=160, fill=0.0)
    raw_maps[2][0, 2 * 7 + 4, 0, 3] = 1.0
    target = targets_of([(0, 0, *boxed(99, 16, 102, 214))])
    plain = criterion(gain=1, anchors=anchors, ignore_iou=1)(raw_maps, target)["objectness"].item()
    by_iou = criterion(gain=1, anchors=anchors, ignore_iou=1, objectness_iou_target=True)(raw_maps, target)
    # BCE(logit 1, target) falls by logit * target: from target 1 to 89/115 it rises by 26/115
    assert by_iou["objectness"].item() - plain == pytest.approx(26 / 115, abs=1e-3)


def test_the_iou_that_objectness_aims_at_does_not_move_the_box():
    raw_maps = [level.requires_grad_() for level in maps()]
    loss = criterion(gain=1, box=0, classes=0, objectness_iou_target=True, ignore_iou=1)
    loss(raw_maps, targets_of([(0, 1, 10, 10, 40, 50)]))["total"].backward()
    for level in raw_maps:
        gradient = level.grad.view(3, 7, -1)
        assert gradient[:, 4].all() and gradient[:, :4].count_nonzero() == 0


def test_perfect_maps_cost_next_to_nothing():
    box = boxed(36, 20, 28, 41)  # exactly the first anchor of stride 16, at column 2 + 1/4, row 1 + 1/4
    raw_maps = maps(fill=0.0)
    for level in raw_maps:
        level.view(1, 3, 7, *level.shape[2:])[:, :, 4] = -30
    raw_maps[1][0, :7, 1, 2] = torch.tensor([-math.log(3), -math.log(3), 0, 0, 30, -30, 30])
    parts = criterion(xy_scale=1.0, gain=1)(raw_maps, targets_of([(0, 1, *box)]))
    entropy = -2 * (0.25 * math.log(0.25) + 0.75 * math.log(0.75))  # what BCE costs a soft target at its best
    assert parts["box"].item() == pytest.approx((2 - 28 * 41 / 6144) * entropy, rel=1e-5)
    assert parts["objectness"].item() < 1e-6 and parts["classes"].item() < 1e-6
    ciou = criterion(xy_scale=1.0, gain=1, kind="ciou")(raw_maps, targets_of([(0, 1, *box)]))
    assert ciou["box"].item() == pytest.approx(0, abs=1e-5)


def test_weights_gain_and_balance_scale_their_parts():
    raw_maps, targets = maps(batch=2), targets_of([(0, 1, 10, 10, 40, 50), (1, 0, 60, 5, 90, 60)])
    plain = criterion(gain=1)(raw_maps, targets)
    weighed = criterion(gain=0.5, box=2, objectness=3, classes=4)(raw_maps, targets)
    for name, factor in (("box", 1), ("objectness", 1.5), ("classes", 2)):
        assert weighed[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-5)
    assert weighed["total"].item() == pytest.approx(sum(weighed[n].item() for n in ("box", "objectness", "classes")))
    empty = criterion(gain=1, balance=(4, 1, 0))(maps(fill=0.0), targets_of())
    assert empty["objectness"].item() == pytest.approx(3 * (4 * 96 + 24) * math.log(2), rel=1e-6)


# Against plain loops.

quarter = st.integers(0, 4 * 96).map(lambda q: q / 4)
box_of = st.tuples(quarter, quarter, quarter, quarter).map(
    lambda o: boxed(o[0], min(o[1], 64), max(o[2], 0.5), max(o[3], 0.5))
)
an_object = st.tuples(st.integers(0, 1), st.integers(0, 1), box_of).filter(
    # within the bounded exp of every anchor; beyond it the code aims at the bound
    lambda o: all(1 / 60 < (o[2][k + 2] - o[2][k]) / side < 60 for side in (7, 214) for k in (0, 1))
)


@settings(max_examples=40, deadline=None)
@given(
    objects=st.lists(an_object, max_size=6),
    regions=st.lists(st.tuples(st.integers(0, 1), box_of), max_size=3),
    kind=st.sampled_from(["yolov3", "ciou"]),
    rule=st.sampled_from(["best", "neighbours"]),
    iou_target=st.booleans(),
    ignore_iou=st.sampled_from([0.1, 0.4, 0.7, 1.0]),
    seed=st.integers(0, 1000),
)
def test_every_part_agrees_with_plain_loops(objects, regions, kind, rule, iou_target, ignore_iou, seed):
    torch.manual_seed(seed)
    chosen = {
        "kind": kind,
        "assignment": rule,
        "objectness_iou_target": iou_target,
        "ignore_iou": ignore_iou,
        "gain": 0.1,
        "balance": (1.0, 2.0, 3.0),
    }
    raw_maps = maps(batch=2, dtype=torch.float64)
    targets = targets_of([(i, k, *b) for i, k, b in objects], [(i, *b) for i, b in regions], torch.float64)
    ours = criterion(**chosen)(raw_maps, targets)
    plain = slow_reference.loss(
        [level.tolist() for level in raw_maps], objects, regions, ANCHORS.tolist(), STRIDES, 2.0, LossSettings(**chosen)
    )
    for name, value in plain.items():
        assert ours[name].item() == pytest.approx(value, rel=1e-6, abs=1e-9), name


@settings(deadline=None)
@given(a=box_of, b=box_of)
def test_paired_iou_agrees_with_plain_numbers(a, b):
    ours = paired_iou(torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64))
    assert ours.item() == pytest.approx(slow_reference.iou(a, b), abs=1e-12)


# Gradients.


@pytest.mark.parametrize("rule", ["best", "neighbours"])
def test_gradient_of_the_yolov3_loss_is_the_numerical_one(rule):
    raw_maps = [level.requires_grad_() for level in maps(2, 32, 32, 1, torch.float64, per_level=1)]
    targets = targets_of([(0, 0, 3, 4, 14, 27), (0, 0, 12, 3, 20, 30)], [(1, 0, 0, 20, 20)], torch.float64)
    loss = criterion(1, anchors=ANCHORS[:, :1], assignment=rule, gain=1, ignore_iou=0.3)
    assert torch.autograd.gradcheck(lambda *levels: loss(levels, targets)["total"], raw_maps)


def test_gradient_of_the_ciou_loss_is_the_numerical_one_where_shapes_agree():
    # Where prediction and object have one aspect ratio, alpha * v has no slope, so alpha being held constant (below)
    # does not show.
    anchors = torch.tensor([[[8.0, 16]], [[10.0, 20]], [[12.0, 24]]])
    raw_maps = maps(2, 32, 32, 1, torch.float64, per_level=1)
    for level in raw_maps:
        level[:, 3] = level[:, 2]  # tw = th keeps the anchor's ratio 1 : 2
        level.requires_grad_()
    targets = targets_of([(0, 0, 3, 4, 12, 22), (1, 0, 12, 3, 20, 19)], [(1, 0, 0, 20, 20)], torch.float64)
    loss = criterion(1, anchors=anchors, kind="ciou", assignment="neighbours", gain=1)
    assert torch.autograd.gradcheck(lambda *levels: loss(levels, targets)["total"], raw_maps)


def test_gradient_of_the_ciou_loss_holds_alpha_constant():
    anchors = torch.full((3, 1, 2), 1000.0, dtype=torch.float64)
    anchors[1, 0] = torch.tensor([20.0, 30])
    box, at = (10.0, 8.0, 35.0, 30.0), (1, 1)  # centre (22.5, 19): column 1, row 1 at stride 16
    raw_maps = [level.requires_grad_() for level in maps(1, 32, 32, 1, torch.float64, per_level=1)]
    loss = criterion(1, anchors=anchors, kind="ciou", gain=1)
    loss(raw_maps, targets_of([(0, 0, *box)], dtype=torch.float64))["box"].backward()

    def predicted(t):
        return slow_reference.decode(t, at[1], at[0], (20.0, 30.0), 16, 2.0)

    t = raw_maps[1][0, :4, 1, 1].tolist()
    now = predicted(t)
    v_alpha = slow_reference.ciou(now, box) - slow_reference.ciou(now, box, alpha=0.0)
    v = slow_reference.ciou(now, box, alpha=1.0) - slow_reference.ciou(now, box, alpha=0.0)
    assert v > 1e-4, "this case should have an aspect term"
    for k in range(4):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [value + step * (k == n) for n, value in enumerate(t)]
            sides.append(slow_reference.ciou(predicted(moved), box, alpha=v_alpha / v))
        assert raw_maps[1].grad[0, k, 1, 1].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("regions", [[], [(0, 0, 0, 50, 64), (1, 30, 30, 90, 60)]])
def test_a_batch_without_objects_only_lowers_objectness(options, regions):
    raw_maps = [level.requires_grad_() for level in maps(batch=2)]
    parts = criterion(gain=1, **options)(raw_maps, targets_of([], regions))
    assert all(part.isfinite() for part in parts.values())
    parts["total"].backward()
    spared = 0
    for level in raw_maps:
        raw, gradient = (x.view(2, 3, 7, *level.shape[2:]) for x in (level.detach(), level.grad))
        assert gradient[:, :, [0, 1, 2, 3, 5, 6]].count_nonzero() == 0
        free = gradient[:, :, 4] == 0
        torch.testing.assert_close(gradient[:, :, 4][~free], (raw[:, :, 4].sigmoid() / 2)[~free])
        spared += int(free.sum())
    assert (spared > 0) == bool(regions)


@pytest.mark.parametrize("options", KINDS)
def test_an_empty_image_among_others_costs_as_much_as_alone(options):
    raw_maps = maps(batch=2)
    loss = criterion(gain=1, **options)
    together = loss(raw_maps, targets_of([(0, 1, 10, 10, 40, 50)]))
    first = loss([level[:1] for level in raw_maps], targets_of([(0, 1, 10, 10, 40, 50)]))
    second = loss([level[1:] for level in raw_maps], targets_of())
    for name in together:
        assert together[name].item() == pytest.approx((first[name].item() + second[name].item()) / 2, rel=1e-5)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_float32_whatever_the_autocast(options, dtype):
    raw_maps, targets = maps(batch=2), targets_of([(0, 1, 10, 10, 40, 50), (1, 0, 1, 1, 90, 60)])
    low = [level.to(dtype) for level in raw_maps]
    with torch.autocast("cpu", dtype):
        under = criterion(**options)(low, targets)
    plain = criterion(**options)([level.float() for level in low], targets)
    for name in plain:
        assert under[name].dtype == torch.float32
        assert torch.equal(under[name], plain[name])


@pytest.mark.parametrize("options", KINDS)
def test_extreme_maps_and_boxes_give_finite_losses_and_gradients(options):
    for fill in (-60.0, 60.0):
        raw_maps = [level.requires_grad_() for level in maps(batch=2, fill=fill)]
        boxes = [(0, 1, 0, 0, 96, 64), (0, 0, 95.9, 63.9, 96, 64), (1, 0, 20, 20, 20.01, 60), (1, 1, 5, 5, 5, 9)]
        parts = criterion(**options)(raw_maps, targets_of(boxes))
        parts["total"].backward()
        assert all(part.isfinite() for part in parts.values())
        assert all(level.grad.isfinite().all() for level in raw_maps)


def test_an_object_with_many_positives_weighs_no_more_than_one_with_few():
    # 20 x 20 in the middle of a cell has no neighbours in x and y; beside the middle it has two more places an anchor.
    anchors = torch.full((3, 3, 2), 1000.0)
    anchors[0, 0] = torch.tensor([20.0, 20])
    loss = criterion(anchors=anchors, assignment="neighbours", gain=1, kind="ciou", ignore_iou=1)
    few = loss(maps(fill=0.0), targets_of([(0, 0, *boxed(36, 36, 20, 20))]))
    many = loss(maps(fill=0.0), targets_of([(0, 0, *boxed(37, 37, 20, 20))]))
    assert few["classes"].item() == pytest.approx(many["classes"].item())


def test_neighbours_need_a_coder_that_reaches_them():
    with pytest.raises(ValueError, match="xy_scale=2"):
        criterion(xy_scale=1.0, assignment="neighbours")
