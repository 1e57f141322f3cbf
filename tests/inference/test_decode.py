from __future__ import annotations

import numpy as np
import pytest
import torch
from network_pieces import lively, tiny

from data.resize import fit
from detector.inference.decode import detect, select
from detector.network.yolov3.boxes import decode_maps

SAME = fit((64, 96), (64, 96), "stretch")


def logit(p):
    return float(np.log(p / (1 - p)))


def quiet_maps(batch=1, num_classes=3, height=64, width=96):
    """Nothing anywhere: objectness exp(-20), classes even."""
    made = []
    for stride in (8, 16, 32):
        level = torch.zeros(batch, 3, 5 + num_classes, height // stride, width // stride)
        level[:, :, 4] = -20
        made.append(level.flatten(1, 2))
    return made


def put(raw_maps, level, image, anchor, row, column, objectness, classes, box=(0, 0, 0, 0)):
    channels = 5 + len(classes)
    values = torch.tensor([*box, logit(objectness), *(logit(p) for p in classes)])
    raw_maps[level][image, anchor * channels : (anchor + 1) * channels, row, column] = values


def test_nothing_seen_gives_empty_arrays_of_the_right_kind():
    (found,) = detect(tiny(), quiet_maps(), [SAME], 0.25, 0.45)
    assert found.boxes.shape == (0, 4) and found.boxes.dtype == np.float32
    assert found.scores.dtype == np.float32 and found.labels.dtype == np.int64


def test_one_box_by_hand_through_stretch_and_clipping():
    raw_maps = quiet_maps()
    put(raw_maps, 1, 0, 1, 2, 3, 0.8, (0.5, 0.01, 0.01))  # 20 x 63 at ((3 + 1/2) * 16, (2 + 1/2) * 16) = (56, 40)
    geometry = fit((128, 288), (64, 96), "stretch")  # twice as high, three times as wide
    (found,) = detect(tiny(), raw_maps, [geometry], 0.25, 0.45)
    assert found.labels.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.4])
    assert found.boxes.tolist()[0] == pytest.approx([3 * 46, 2 * 8.5, 3 * 66, 128])  # 2 * 71.5 is outside: clipped


def test_letterbox_is_undone():
    raw_maps = quiet_maps()
    put(raw_maps, 0, 0, 0, 4, 6, 0.9, (0.9, 0.01, 0.01))  # 10 x 24 at (52, 36)
    geometry = fit((40, 96), (64, 96), "letterbox")  # bars of 12 px above and below
    (found,) = detect(tiny(), raw_maps, [geometry], 0.25, 0.45)
    assert found.boxes.tolist()[0] == pytest.approx([47, 12, 57, 36])


def test_the_threshold_is_on_objectness_times_class():
    raw_maps = quiet_maps()
    put(raw_maps, 0, 0, 0, 1, 1, 0.60, (0.60, 0.01, 0.01))  # 0.36
    put(raw_maps, 0, 0, 0, 6, 9, 0.50, (0.60, 0.01, 0.01))  # 0.30
    for conf, count in ((0.29, 2), (0.31, 1), (0.37, 0)):
        assert len(detect(tiny(), raw_maps, [SAME], conf, 0.45)[0]) == count


def test_a_kept_box_is_the_average_of_those_that_fall_to_it():
    raw_maps = quiet_maps()
    put(raw_maps, 1, 0, 1, 1, 2, 0.9, (0.9, 0.01, 0.01))  # 20 x 63 at (40, 24)
    put(raw_maps, 1, 0, 1, 2, 2, 0.6, (0.9, 0.01, 0.01))  # 16 px lower: IoU 47 / 79
    weights = np.array([0.9, 0.6 * 47 / 79])
    for label, expected in ((0, 16 * weights[1] / weights.sum()), (1, 0)):
        if label:  # of another class, it has no say
            put(raw_maps, 1, 0, 1, 2, 2, 0.6, (0.01, 0.9, 0.01))
        (found,) = detect(tiny(), raw_maps, [fit((160, 96), (160, 96), "stretch")], 0.25, 0.45)
        assert found.boxes[0].tolist() == pytest.approx([30, max(0, expected - 7.5), 50, 55.5 + expected], rel=1e-5)


def test_of_a_class_no_two_boxes_overlap_more_than_asked(busy):
    network, raw_maps = busy
    first = [level[:1] for level in raw_maps]
    (found,) = detect(network, first, GEOMETRIES[:1], 0.05, 0.3)
    inside = ((found.boxes > 0) & (found.boxes < (128, 96, 128, 96))).all(1)  # clipping may bring others together
    boxes, labels = found.boxes[inside].tolist(), found.labels[inside]
    same = [(a, b) for a in range(len(boxes)) for b in range(a) if labels[a] == labels[b]]
    assert len(same) > 20 and max(slow_iou(boxes[a], boxes[b]) for a, b in same) <= 0.3 + 1e-5


def test_best_first_and_no_more_than_asked():
    raw_maps = quiet_maps()
    for column, objectness, label in ((1, 0.5, 0), (5, 0.9, 2), (9, 0.7, 1)):
        put(raw_maps, 0, 0, 0, 4, column, objectness, [0.99 if k == label else 0.01 for k in range(3)])
    (found,) = detect(tiny(), raw_maps, [SAME], 0.25, 0.45)
    assert found.scores.tolist() == pytest.approx([0.9 * 0.99, 0.7 * 0.99, 0.5 * 0.99])
    assert found.labels.tolist() == [2, 1, 0]
    for limit in ({"limit": 2}, {"candidates": 2}):
        (best,) = detect(tiny(), raw_maps, [SAME], 0.25, 0.45, **limit)
        np.testing.assert_array_equal(best.boxes, found.boxes[:2])
        assert best.scores.tolist() == found.scores.tolist()[:2]
        assert best.labels.tolist() == [2, 1]


def test_suppression_is_within_a_class():
    raw_maps = quiet_maps()
    put(raw_maps, 1, 0, 0, 1, 2, 0.9, (0.9, 0.01, 0.01))
    put(raw_maps, 1, 0, 0, 1, 3, 0.8, (0.9, 0.01, 0.01), box=(-6, 0, 0, 0))  # a third of a cell aside: overlaps
    put(raw_maps, 1, 0, 0, 2, 2, 0.7, (0.01, 0.9, 0.01), box=(0, -6, 0, 0))  # overlaps too, another class
    (within,) = detect(tiny(), raw_maps, [SAME], 0.25, 0.45)
    assert within.labels.tolist() == [0, 1]


def test_a_box_of_two_classes_is_reported_twice():
    raw_maps = quiet_maps()
    put(raw_maps, 1, 0, 0, 1, 2, 0.9, (0.6, 0.01, 0.9))
    (both,) = detect(tiny(), raw_maps, [SAME], 0.25, 0.45)
    assert both.labels.tolist() == [2, 0]
    assert both.boxes[0].tolist() == both.boxes[1].tolist()


def slow_iou(a, b):
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - w * h
    return w * h / union if w > 0 and h > 0 else 0.0


def slow_suppression(pairs, iou):
    kept = []
    for score, box, label in sorted(pairs, reverse=True):
        if all(label != other_label or slow_iou(box, other) <= iou for _, other, other_label in kept):
            kept.append((score, box, label))
    return kept


def slow_postprocess(raw_maps, network, conf, iou):
    """Greedy suppression, averages and suppression once more in plain loops, over every prediction."""
    boxes, objectness, classes = decode_maps(raw_maps, network.anchors, network.strides, network.coder)
    scores = objectness.sigmoid()[0, :, None] * classes.sigmoid()[0]
    boxes = boxes[0].tolist()
    left = [(s, boxes[n], k) for n, row in enumerate(scores.tolist()) for k, s in enumerate(row) if s > conf]
    averages = []
    for score, box, label in slow_suppression(left, iou):
        falls = [pair[2] == label and slow_iou(box, pair[1]) > iou for pair in left]
        heap = [pair for pair, falls_here in zip(left, falls, strict=True) if falls_here]
        left = [pair for pair, falls_here in zip(left, falls, strict=True) if not falls_here]
        weights = [s * slow_iou(box, other) for s, other, _ in heap]
        sums = [sum(w * other[side] for w, (_, other, _) in zip(weights, heap, strict=True)) for side in range(4)]
        averages.append((score, [total / sum(weights) for total in sums], label))
    return slow_suppression(averages, iou)


@pytest.fixture(scope="module")
def busy():
    network = lively(tiny()).eval()
    images = torch.randint(0, 256, (3, 3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return network, network(images)


GEOMETRIES = [
    fit((96, 128), (96, 128), "stretch"),
    fit((375, 1242), (96, 128), "stretch"),
    fit((50, 40), (96, 128), "letterbox"),
]


def test_a_busy_image_agrees_with_plain_loops(busy):
    network, raw_maps = busy
    first = [level[:1] for level in raw_maps]
    (ours,) = detect(network, first, GEOMETRIES[:1], 0.2, 0.5, limit=10**6, candidates=10**6)
    slow = slow_postprocess(first, network, 0.2, 0.5)
    assert len(ours) == len(slow) > 20
    theirs = np.array([(k, *b, s) for s, b, k in slow])
    theirs[:, 1:5] = theirs[:, 1:5].clip(0, [128, 96, 128, 96])
    ours = np.column_stack((ours.labels, ours.boxes, ours.scores))
    assert (np.diff(ours[:, 5]) <= 0).all()
    # equal scores have no order of their own
    ours, theirs = (table[np.lexsort(table.round(3).T)] for table in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def test_batched_equals_one_at_a_time(busy):
    network, raw_maps = busy
    together = detect(network, raw_maps, GEOMETRIES, 0.1, 0.45)
    for k, geometry in enumerate(GEOMETRIES):
        (alone,) = detect(network, [m[k : k + 1] for m in raw_maps], [geometry], 0.1, 0.45)
        assert len(alone) > 5
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together[k], name))


def test_decoded_outputs_give_the_same_detections(busy):
    """So exported files and PyTorch give equal boxes."""
    network, raw_maps = busy
    boxes, objectness, classes = decode_maps(raw_maps, network.anchors, network.strides, network.coder)
    scores = objectness.sigmoid()[..., None] * classes.sigmoid()
    decoded = select(boxes.numpy(), scores.numpy(), GEOMETRIES, 0.1, 0.45)
    for ours, theirs in zip(detect(network, raw_maps, GEOMETRIES, 0.1, 0.45), decoded, strict=True):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-6)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("conf", [0.0, 1.0])
def test_the_extreme_thresholds_keep_all_or_nothing(busy, conf):
    network, raw_maps = busy
    found = detect(network, raw_maps, GEOMETRIES, conf, 1.0, limit=10**6, candidates=10**6)
    assert [len(f) for f in found] == [3 * 252 * 3 * (conf == 0)] * 3


def test_boxes_never_leave_the_image(busy):
    network, raw_maps = busy
    for found, geometry in zip(detect(network, raw_maps, GEOMETRIES, 0.01, 0.9), GEOMETRIES, strict=True):
        height, width = geometry.source
        assert found.boxes.min() >= 0
        assert found.boxes[:, [0, 2]].max() <= width and found.boxes[:, [1, 3]].max() <= height


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_maps_are_accepted(busy, dtype):
    network, raw_maps = busy
    found = detect(network, [level.to(dtype) for level in raw_maps], GEOMETRIES, 0.25, 0.45)
    assert all(f.boxes.dtype == np.float32 and len(f) for f in found)
