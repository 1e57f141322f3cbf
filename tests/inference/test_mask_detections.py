"""Masks beside detections: they stay with their boxes, and are drawn and written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.masks import decode, encode
from detector.inference.detections import Detections, to_labels, to_objects
from detector.inference.drawing import colour_of, draw
from detector.video.data_files import JsonSink
from detector.video.frames import Frame
from detector.video.sink import Result

CLASSES = ("Car", "Cyclist")


def squares() -> np.ndarray:
    """[3, 60, 80]: of 20 pixels a side, beside one another."""
    masks = np.zeros((3, 60, 80), np.uint8)
    for k, mask in enumerate(masks):
        mask[30:50, 5 + 25 * k : 25 + 25 * k] = 1
    return masks


def found(image: np.ndarray | None = None) -> Detections:
    boxes = np.array([[5 + 25 * k, 30, 25 + 25 * k, 50] for k in range(3)], np.float32)
    scores, labels = np.array([0.9, 0.6, 0.3], np.float32), np.array([0, 1, 0])
    return Detections(boxes, scores, labels, CLASSES, image, tuple(map(encode, squares())))


def test_masks_stay_with_their_boxes() -> None:
    masks = tuple(map(encode, squares()))
    assert found()["Car"].masks == (masks[0], masks[2])
    assert found().above(0.5).masks == masks[:2]
    assert found().above(0.95).masks == ()
    assert found()["Cyclist"].above(0.7).masks == ()
    assert [label.mask for label in to_labels(found(), CLASSES)] == list(masks)


def test_masks_are_written_as_run_lengths() -> None:
    from pycocotools import mask as theirs

    rows = found().to_coco(7)
    for row, mask in zip(json.loads(json.dumps(rows)), squares(), strict=True):
        np.testing.assert_array_equal(theirs.decode(row["segmentation"]), mask)
    assert [entry["mask"] for entry in to_objects(found(), CLASSES)] == [row["segmentation"] for row in rows]
    bare = Detections(found().boxes, found().scores, found().labels, CLASSES)
    assert "segmentation" not in bare.to_coco()[0]
    assert list(to_objects(bare, CLASSES)[0]) == ["class", "score", "box"]


def test_a_line_of_detections_jsonl_has_masks(tmp_path: Path) -> None:
    sink = JsonSink(tmp_path / "detections.jsonl")
    frame = Frame("a.png", "a", "image", 0, 0.0, np.zeros((60, 80, 3), np.uint8))
    sink.write(Result(frame, found(), CLASSES))
    sink.close()
    line = json.loads((tmp_path / "detections.jsonl").read_text())
    assert line["detections"][1]["mask"] == {"size": [60, 80], "counts": encode(squares()[1]).counts.decode()}


def test_supervision_gets_masks() -> None:
    pytest.importorskip("supervision")
    np.testing.assert_array_equal(found().to_supervision().mask, squares().astype(bool))
    assert found().above(0.95).to_supervision().mask is None


def test_a_mask_is_half_its_colour_under_the_box() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    picture = found(image).draw()
    for k, name in enumerate(("Car", "Cyclist", "Car")):
        inside = picture[40, 15 + 25 * k].astype(int)
        expected = 100 * 0.55 + np.array(colour_of(name)) * 0.45
        np.testing.assert_allclose(inside, expected, atol=1)
    assert (picture[55:] == 100).all()
    assert (image == 100).all()


def test_masks_do_not_change_the_boxes_and_an_empty_one_draws_nothing() -> None:
    plain, filled = np.full((60, 80, 3), 100, np.uint8), np.full((60, 80, 3), 100, np.uint8)
    bare = Detections(found().boxes, found().scores, found().labels, CLASSES)
    draw(plain, bare, CLASSES)
    nothing = encode(np.zeros((60, 80), np.uint8))
    draw(filled, Detections(bare.boxes, bare.scores, bare.labels, CLASSES, None, (nothing,) * 3), CLASSES)
    np.testing.assert_array_equal(plain, filled)
    assert decode(nothing).sum() == 0
