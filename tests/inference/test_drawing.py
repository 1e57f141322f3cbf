from __future__ import annotations

import itertools

import numpy as np
import pytest

from data.formats.kitti import CLASSES
from detector.inference.detections import Detections
from detector.inference.drawing import COLOURS, colour_of, draw, line_width


def one(box, label=0, score=0.9):
    return Detections(np.array([box], np.float32), np.array([score], np.float32), np.array([label]))


def painted(image, colour):
    return np.all(image == colour, axis=2)


def test_every_kitti_class_has_a_colour_far_from_all_others():
    assert set(COLOURS) == set(CLASSES)
    for a, b in itertools.combinations(COLOURS.values(), 2):
        assert np.abs(np.subtract(a, b)).sum() > 60


def test_an_unknown_class_keeps_one_colour():
    assert colour_of("Moose") == colour_of("Moose") and colour_of("Moose") in COLOURS.values()


@pytest.mark.parametrize(("size", "expected"), [((375, 1242), 2), ((2160, 3840), 8), ((96, 160), 1)])
def test_lines_grow_with_the_image(size, expected):
    assert line_width(*size) == expected


def test_a_box_is_drawn_on_its_border_in_its_class_colour_and_the_inside_stays():
    image = np.zeros((375, 1242, 3), np.uint8)
    draw(image, one([300, 200, 400, 300], CLASSES.index("Cyclist")), CLASSES)
    mine = painted(image, COLOURS["Cyclist"])
    assert mine[250, 300] and mine[250, 400] and mine[300, 350] and not image[210:290, 310:390].any()


@pytest.mark.parametrize("rows", [375, 2160])
def test_the_label_is_legible_capitals_have_ten_rows_or_more(rows):
    columns = {375: 1242, 2160: 3840}[rows]
    image = np.zeros((rows, columns, 3), np.uint8)
    draw(image, one([columns // 2, rows // 2, columns // 2 + 50, rows // 2 + 50]), CLASSES)
    above = image[: rows // 2 - line_width(rows, columns)]
    tag_rows = np.nonzero(painted(above, COLOURS["Car"]).any(axis=1))[0]
    tag = above[tag_rows[0] : tag_rows[-1] + 1, columns // 2 :]
    ink_rows = np.nonzero(((tag[..., 1] > 0) & (tag[..., 1] < 120)).sum(axis=1) > 2)[0]
    assert len(ink_rows) >= 9 and len(tag_rows) < rows / 20


@pytest.mark.parametrize(
    "box", [[-50, -50, 30, 30], [150, 5, 400, 40], [0, 0, 160, 96], [100, 90, 158, 300], [9e9, 0, 9e9, 5]]
)
def test_boxes_and_labels_at_and_beyond_the_borders_stay_in_the_image(box):
    image = np.zeros((96, 160, 3), np.uint8)
    draw(image, one(box), CLASSES)
    assert image.shape == (96, 160, 3)
    if box[0] < 160:
        assert painted(image, COLOURS["Car"]).sum() > 50


def test_the_surest_object_is_on_top():
    image = np.zeros((375, 1242, 3), np.uint8)
    boxes = np.array([[300, 200, 400, 300]] * 2, np.float32)
    draw(image, Detections(boxes, np.array([0.9, 0.3], np.float32), np.array([0, 3])), CLASSES)
    assert painted(image, COLOURS["Car"])[250, 300]


def test_nothing_found_draws_nothing():
    image = np.full((96, 160, 3), 7, np.uint8)
    draw(image, Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)), CLASSES)
    assert (image == 7).all()
