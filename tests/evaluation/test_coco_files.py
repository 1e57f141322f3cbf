"""COCO's files read by us and scored by us are what pycocotools says of the same files."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from foreign import coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.annotation import Annotation
from data.detection import DetectionDataset
from detector.evaluation.coco_ap import STATS
from detector.evaluation.evaluator import evaluate


def test_a_coco_file_with_a_crowd_scores_as_pycocotools_scores_it(tmp_path: Path) -> None:
    root = coco(tmp_path, train=12, val=1)
    dataset, rng = DetectionDataset(root, "train"), np.random.default_rng(0)
    truth = {frame: dataset.annotations(frame) for frame in dataset.frames}
    found = {
        frame: [
            Annotation(item.name, tuple((np.array(item.box) + rng.normal(0, 2, 4)).tolist()), score=rng.random())
            for item in items
            for _ in range(rng.integers(0, 4))
        ]
        for frame, items in truth.items()
    }
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(root / "annotations/instances_train2017.json"))
        numbers = {category["name"]: category["id"] for category in theirs.loadCats(theirs.getCatIds())}
        results = [
            {
                "image_id": int(frame),
                "category_id": numbers[item.name],
                "bbox": corners_to_sides(item),
                "score": item.score,
            }
            for frame, items in found.items()
            for item in items
        ]
        evaluation = COCOeval(theirs, theirs.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = evaluate(truth, found, dataset.class_set.names).coco.stats
    assert 0.2 < ours["AP"] < 0.9
    assert ours == pytest.approx(dict(zip(STATS, evaluation.stats, strict=True)), abs=1e-9)


def corners_to_sides(item: Annotation) -> list[float]:
    x1, y1, x2, y2 = item.box
    return [x1, y1, x2 - x1, y2 - y1]
