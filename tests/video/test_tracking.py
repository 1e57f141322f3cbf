from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from detector.inference.detections import Detections
from detector.video import tracking

pytest.importorskip("trackers", reason="the package trackers is optional")
IMAGE = np.zeros((120, 700, 3), np.uint8)


def found(*objects):
    """objects: (x, score, label), boxes of 40 x 40."""
    boxes = np.array([[x, 50, x + 40, 90] for x, _, _ in objects], np.float32).reshape(-1, 4)
    return Detections(
        boxes, np.array([s for _, s, _ in objects], np.float32), np.array([k for *_, k in objects], np.int64)
    )


def test_ids_stay_with_their_objects_whatever_the_order_they_are_found_in():
    tracker, before = tracking.Tracker(25, 0.25), None
    for step in range(20):
        a, b = (100 + 3 * step, 0.9, 0), (400 - 3 * step, 0.8, 1)
        ids = tracker.update(found(a, b), IMAGE) if step % 2 else tracker.update(found(b, a), IMAGE)[::-1]
        if step:
            assert ids[0] != ids[1] and None not in ids
            assert before is None or ids == before
            before = ids
    assert min(before) == 1
    assert tracker.tracks_per_class(2) == [1, 1]


def test_botsort_follows_an_object_where_the_camera_jumps_and_bytetrack_loses_it():
    coarse = np.random.default_rng(0).integers(0, 256, (9, 31, 3), np.uint8)
    scenery = cv2.resize(coarse, (900, 240), interpolation=cv2.INTER_NEAREST)
    kept = {}
    for kind in tracking.TRACKERS:
        tracker, seen = tracking.Tracker(10, 0.25, kind), []
        for step in range(12):
            jump = 40 * (step > 6)
            image = np.ascontiguousarray(scenery[:, jump : jump + 700])
            seen.append(tracker.update(found((300 - jump, 0.9, 0)), image)[0])
        kept[kind] = len(set(seen[2:]) - {None})
    assert kept == {"bytetrack": 2, "botsort": 1}


def test_an_object_hidden_for_half_a_second_keeps_its_id_and_a_new_one_gets_another():
    tracker = tracking.Tracker(10, 0.25)
    for step in range(5):
        ids = tracker.update(found((100 + step, 0.9, 0)), IMAGE)
    for _ in range(5):
        assert tracker.update(found(), IMAGE) == []
    assert tracker.update(found((110, 0.9, 0)), IMAGE) == ids
    tracker.update(found((111, 0.9, 0), (600, 0.9, 0)), IMAGE)
    assert tracker.update(found((112, 0.9, 0), (600, 0.9, 0)), IMAGE)[1] not in ids


def test_a_track_counts_once_for_the_class_it_was_called_most():
    tracker = tracking.Tracker(10, 0.25)
    for label in (1, 0, 0, 0, 1, 0):
        tracker.update(found((100, 0.9, label)), IMAGE)
    assert tracker.tracks_per_class(2) == [1, 0]


def test_without_the_package_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(ValueError, match="pip install 'trackers"):
        tracking.require_trackers()
