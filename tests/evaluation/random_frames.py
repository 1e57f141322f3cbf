"""Small crowded frames of few sizes, places and scores, so that ties, limits and quarrels over boxes are common."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from data.formats.kitti import Label

HEIGHTS = (24.99, 25.0, 26.0, 35.0, 39.99, 40.0, 41.0, 50.0, 50.0)


def _box(r: random.Random) -> tuple[float, float, float, float]:
    x, y = r.choice((0.0, 5.0, 10.0, 20.0, 300.0)), r.choice((0.0, 0.0, 2.0, 5.0))
    return (x, y, x + r.choice((50.0, 100.0, 100.0)), y + r.choice(HEIGHTS))


def _scene(seed: int) -> tuple[dict[str, list[Label]], dict[str, list[Label]]]:
    r = random.Random(seed)
    names = r.choice((("Car", "Van"), ("Pedestrian", "Person_sitting"), ("Car", "Pedestrian", "Cyclist")))
    ground_truth, detections = {}, {}
    for frame in map(str, range(r.randint(1, 6))):
        ground_truth[frame] = [
            Label(
                r.choice((*names, names[0], "DontCare")),
                _box(r),
                r.choice((0.0, 0.0, 0.0, 0.15, 0.3, 0.31, 0.5)),
                r.choice((0, 0, 1, 3)),
            )
            for _ in range(r.randint(0, 7))
        ]
        detections[frame] = [
            Label(r.choice((*names, names[0], names[0], "Tram")), _box(r), score=r.randint(1, 9) / 10)
            for _ in range(r.randint(0, 9))
        ]
    return ground_truth, detections


def scenes() -> st.SearchStrategy[tuple[dict[str, list[Label]], dict[str, list[Label]]]]:
    """(ground truth, detections) by frame. From a seed: hypothesis' own lists would mostly be too empty to quarrel."""
    return st.integers(0, 2**32 - 1).map(_scene)
