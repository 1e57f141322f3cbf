"""COCO's numbers of masks: ours, pycocotools' on our columns, and pycocotools' on files."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.annotation import Annotation, Rle
from data.detection import DetectionDataset
from data.masks import box_of, decode, encode
from data.scenes.write import make_coco_scenes
from detector.evaluation import coco_ap, coco_arrays
from detector.evaluation.coco_ap import STATS
from detector.evaluation.columns import from_labels
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.masks import with_masks
from detector.evaluation.run import Outputs, score_network
from detector.inference.detections import Detections

SIZE = (60, 90)
CLASSES = ("Car", "Van", "Cyclist")
Frames = dict[str, list[Annotation]]


def a_mask(rng: np.random.Generator) -> Rle:
    """Of few places, so that ties and quarrels are common."""
    x, y = rng.choice((0, 4, 8, 40)), rng.choice((0, 3, 6))
    mask = np.zeros(SIZE, np.uint8)
    mask[y : y + rng.choice((20, 40)), x : x + rng.choice((20, 45))] = 1
    if rng.random() < 0.3:
        mask[y : y + 10, x : x + 10] = 0
    return encode(mask)


def random_frames(seed: int) -> tuple[Frames, Frames]:
    rng = np.random.default_rng(seed)

    def some(most: int, scored: bool) -> list[Annotation]:
        masks = [a_mask(rng) for _ in range(rng.integers(0, most))]
        return [
            Annotation(
                str(rng.choice((*CLASSES, "Tree"))),
                box_of(mask),
                score=float(rng.integers(1, 9)) / 10 if scored else None,
                ignore=not scored and bool(rng.random() < 0.2),
                area=None if scored or rng.random() < 0.5 else float(rng.choice((500, 1024, 5000))),
                mask=mask,
            )
            for mask in masks
        ]

    frames = [str(k) for k in range(rng.integers(1, 6))]
    return {frame: some(7, False) for frame in frames}, {frame: some(10, True) for frame in frames}


@pytest.mark.parametrize("seed", range(25))
def test_arrays_equal_pycocotools_to_the_last_digit(seed: int) -> None:
    truth, found = random_frames(seed)
    columns = from_labels(truth, sorted(truth), scored=False), from_labels(found, sorted(truth), scored=True)
    for kind in ("bbox", "segm"):
        expected = coco_ap.evaluate_coco(*columns, CLASSES, kind)
        assert coco_arrays.evaluate_coco(*columns, CLASSES, kind) == expected
    if seed == 0:
        assert expected.stats["AP50"] > 0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "coco"
    make_coco_scenes(root, 4, seed=5, val_share=0.5, progress=False)
    return root


def found_in(items: Sequence[Annotation], classes: Sequence[str], rng: np.random.Generator) -> Detections:
    """Most objects, some twice, their masks moved by some pixels."""
    taken = [item for item in items if item.name in classes for _ in range(rng.integers(0, 3))]
    masks = [encode(np.roll(decode(item.mask), rng.integers(-3, 4, 2), (0, 1))) for item in taken if item.mask]
    boxes = np.array([item.box for item in taken], np.float32).reshape(-1, 4) + rng.normal(0, 1, (len(taken), 4))
    scores = rng.permutation(len(taken)) / 100 + 0.1
    order = np.argsort(-scores)
    return Detections(
        boxes[order].astype(np.float32),
        scores[order].astype(np.float32),
        np.array([classes.index(item.name) for item in taken], np.int64)[order],
        tuple(classes),
        masks=tuple(masks[place] for place in order),
    )


class FakePredictor:
    """Finds what the labels say, moved."""

    def __init__(self, root: Path) -> None:
        dataset = DetectionDataset(root, "val", masks="samples")
        self.classes, rng = dataset.class_set.names, np.random.default_rng(0)
        self.timings = {"images": 1.0, "preprocess": 1.0, "network": 1.0, "postprocess": 1.0}
        self.found = {frame: found_in(dataset.annotations(frame), self.classes, rng) for frame in dataset.frames}
        self._left = list(self.found.values())

    def predict(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._left.pop(0) for _ in images]


def test_scenes_and_results_as_files_score_as_pycocotools_scores_them(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = FakePredictor(scenes)
    score_network(
        lambda: predictor, scenes, "val", tmp_path, 2, False, Outputs(str(tmp_path / "out.json"), None, "arrays")
    )
    ours = json.loads((tmp_path / "out.json").read_text())
    assert "The same of masks" in capsys.readouterr().out
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(scenes / "annotations/instances_val.json"))
        images = {image["file_name"]: image["id"] for image in theirs.dataset["images"]}
        numbers = {category["name"]: category["id"] for category in theirs.dataset["categories"]}
        results = []
        for frame, found in predictor.found.items():
            for row in found.to_coco(images[f"{frame}.png"]):
                results.append({**row, "category_id": numbers[predictor.classes[row["category_id"] - 1]]})
        for kind, key in (("segm", "coco_masks"), ("bbox", "coco")):
            # loadRes takes the area of the box where a result has one, of masks too
            left_out = "bbox" if kind == "segm" else "segmentation"
            rows = [{key: value for key, value in row.items() if key != left_out} for row in results]
            evaluation = COCOeval(theirs, theirs.loadRes(rows), kind)
            evaluation.params.catIds = [numbers[name] for name in predictor.classes]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            expected = dict(zip(STATS, map(float, evaluation.stats), strict=True))
            assert 0.1 < expected["AP"] < 0.95
            assert ours[key]["stats"] == pytest.approx(expected, abs=0 if kind == "segm" else 1e-9)


def test_masks_are_scored_only_where_both_sides_have_them() -> None:
    truth, found = random_frames(3)

    def bare(frames: Frames) -> Frames:
        return {frame: [replace(item, mask=None) for item in items] for frame, items in frames.items()}

    def scored(truth: Frames, found: Frames) -> Evaluation:
        return evaluate(truth, found, CLASSES)

    assert scored(truth, found).masks is not None
    assert "coco_masks" in scored(truth, found).to_json()
    for sides in ((bare(truth), found), (truth, bare(found)), (bare(truth), bare(found))):
        assert scored(*sides).masks is None
        assert "coco_masks" not in scored(*sides).to_json()
        assert "masks" not in scored(*sides).table()
    nothing = scored(truth, {}).masks  # a network of masks that found nothing
    assert nothing is not None
    assert nothing.stats["AP"] == 0


def test_what_has_no_mask_has_its_box_for_one() -> None:
    whole = np.zeros(SIZE, np.uint8)
    whole[10:30, 20:60] = 1
    box = (20.0, 10.0, 60.0, 30.0)
    truth = [Annotation("Car", box), Annotation("Car", (0, 0, 5, 5), mask=encode(whole[::-1]))]
    found = [Annotation("Car", box, score=0.9, mask=encode(whole))]
    columns = from_labels({"0": truth}, ["0"], scored=False), from_labels({"0": found}, ["0"], scored=True)
    filled = with_masks(*columns)
    assert filled is not None
    assert filled.masks is not None
    np.testing.assert_array_equal(decode(filled.masks[0]), whole)
    numbers = evaluate({"0": truth}, {"0": found}, CLASSES).masks
    assert numbers is not None
    assert numbers.stats["AP50"] == pytest.approx(51 / 101)  # one of two, at full precision
