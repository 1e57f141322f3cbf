"""What is found in several views of an image becomes one answer, as a slow and plain version says."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from detector.inference.detections import Detections
from detector.inference.joining import join, threshold_of_one, unmirrored, views_of
from detector.inference.views import views_argument


def found(*objects: tuple[float, int, tuple[float, ...]]) -> Detections:
    scores, labels, boxes = zip(*objects, strict=True) if objects else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def street(seed: int, count: int = 40) -> Detections:
    """Objects of two classes, no two near, that stay where they are from seed to seed; five are not seen."""
    places = np.random.default_rng(0)
    x, y = np.divmod(places.permutation(100)[:count], 10)
    boxes = np.stack([50 * x, 50 * y, 50 * x + 40, 50 * y + 40], 1).astype(np.float32)
    labels = places.integers(0, 2, count)
    random = np.random.default_rng(seed)
    boxes += random.normal(0, 1.5, boxes.shape).astype(np.float32)
    scores = random.uniform(0.05, 1, count).astype(np.float32)
    order = np.argsort(-scores)[: count - 5]
    return Detections(boxes[order], scores[order], labels[order])


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    common = max(w, 0) * max(h, 0)
    return common / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common)


def test_objects_far_apart_are_joined_as_plain_loops_do() -> None:
    views = [street(seed) for seed in (1, 2, 3)]
    expected = []
    pool = [one for view in views for one in zip(view.scores, view.labels, view.boxes, strict=True)]
    while pool:
        best = max(pool, key=lambda one: one[0])
        heap = [one for one in pool if one[1] == best[1] and slow_iou(one[2], best[2]) > 0.45]
        pool = [one for one in pool if not any(one is other for other in heap)]
        total = sum(score for score, _, _ in heap)
        expected.append((total / 3, best[1], sum(score * box for score, _, box in heap) / total))
    expected = sorted((one for one in expected if one[0] > 0.45), key=lambda one: -one[0])
    joined = join(views, 0.45, 0.45)
    assert 10 < len(joined) == len(expected) < 40
    np.testing.assert_allclose(joined.scores, [score for score, _, _ in expected], rtol=1e-5)
    np.testing.assert_array_equal(joined.labels, [label for _, label, _ in expected])
    np.testing.assert_allclose(joined.boxes, [box for _, _, box in expected], rtol=1e-5)


def test_the_same_view_twice_changes_nothing() -> None:
    once = street(1)
    twice = join([once, once], 0.0, 0.45)
    np.testing.assert_allclose(twice.scores, once.scores, rtol=1e-6)
    np.testing.assert_allclose(twice.boxes, once.boxes, rtol=1e-6)


def test_what_one_view_does_not_see_counts_half_and_may_fall_below_the_threshold() -> None:
    car, far = (0.8, 0, (0, 0, 40, 40)), (0.4, 0, (100, 0, 140, 40))
    joined = join([found(car, far), found(car)], 0.25, 0.45)
    assert joined.scores.tolist() == pytest.approx([0.8])
    assert join([found(car, far), found(car)], 0.1, 0.45).scores.tolist() == pytest.approx([0.8, 0.2])


def test_every_class_has_its_threshold() -> None:
    both = found((0.8, 0, (0, 0, 40, 40)), (0.6, 1, (100, 0, 140, 40)))
    assert join([both, both], np.array([0.9, 0.5], np.float32), 0.45).labels.tolist() == [1]


def test_an_object_takes_one_box_of_a_view_the_nearest() -> None:
    one = found((0.9, 0, (0, 0, 40, 40)))
    other = found((0.5, 0, (0, 0, 40, 70)), (0.3, 0, (0, 0, 40, 42)))
    assert join([one, other], 0.01, 0.45).scores.tolist() == pytest.approx([0.6])  # and the other one lies too near
    assert join([one, other], 0.01, 0.6).scores.tolist() == pytest.approx([0.6, 0.25])


def test_classes_are_not_joined() -> None:
    car, van = found((0.9, 0, (0, 0, 40, 40))), found((0.7, 1, (0, 0, 40, 40)))
    assert join([car, van], 0.01, 0.45).labels.tolist() == [0, 1]


def test_nothing_found_is_nothing_joined() -> None:
    joined = join([found(), found()], 0.25, 0.45)
    assert len(joined) == 0 and joined.boxes.shape == (0, 4)
    assert len(join([found((0.9, 0, (0, 0, 9, 9))), found()], 0.25, 0.45)) == 1


def test_a_mirrored_box_is_turned_back() -> None:
    assert unmirrored(found((0.9, 0, (10, 5, 30, 15))), 100).boxes.tolist() == [[70, 5, 90, 15]]


@pytest.mark.parametrize(("conf", "expected"), [(0.25, 0.025), (0.005, 0.001), (0.001, 0.001), (0.0002, 0.0002)])
def test_a_view_looks_further_down(conf: float, expected: float) -> None:
    assert threshold_of_one(conf) == pytest.approx(expected)
    assert threshold_of_one(np.array([conf, np.inf])) == pytest.approx([expected, np.inf])


def test_the_argument() -> None:
    assert views_argument("half, mirror") == ("half", "mirror")
    assert views_argument("none") == ()
    with pytest.raises(argparse.ArgumentTypeError, match="view 'twice': expected half or mirror"):
        views_argument("half,twice")


def test_masks_have_one_view() -> None:
    class Drawing:
        fuses = False

    assert len(views_of(Drawing(), ())) == 1  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not go together with masks"):
        views_of(Drawing(), ("mirror",))  # type: ignore[arg-type]
