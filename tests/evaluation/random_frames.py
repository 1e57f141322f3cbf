"""Small crowded frames of few sizes, places and scores, so that ties, limits and quarrels over boxes are common."""

from __future__ import annotations

from hypothesis import strategies as st

from data.kitti import Label

NAMES = ("Car", "Car", "Van", "Pedestrian", "Person_sitting", "Cyclist")


@st.composite
def _box(draw):
    x, y = draw(st.integers(0, 8)) * 10.0, draw(st.integers(0, 3)) * 5.0
    width = draw(st.sampled_from((40.0, 50.0, 100.0)))
    height = draw(st.sampled_from((24.99, 25.0, 26.0, 35.0, 39.99, 40.0, 41.0, 50.0, 70.0)))
    return (x, y, x + width, y + height)


@st.composite
def _object(draw):
    name = draw(st.sampled_from((*NAMES, "DontCare")))
    truncation = draw(st.sampled_from((0.0, 0.0, 0.15, 0.3, 0.31, 0.5, 0.6)))
    return Label(name, draw(_box()), truncation, draw(st.sampled_from((0, 0, 1, 2, 3))))


@st.composite
def _detection(draw):
    return Label(draw(st.sampled_from((*NAMES, "Tram"))), draw(_box()), score=draw(st.integers(1, 9)) / 10)


@st.composite
def scenes(draw, max_frames=4):
    """(ground truth, detections) by frame."""
    n = draw(st.integers(1, max_frames))
    frames = [f"{i:06d}" for i in range(n)]
    ground_truth = {frame: draw(st.lists(_object(), max_size=6)) for frame in frames}
    return ground_truth, {frame: draw(st.lists(_detection(), max_size=8)) for frame in frames}

