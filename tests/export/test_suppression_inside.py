"""A file that suppresses by itself finds what ours finds of the same predictions."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from small_network import CLASSES, pictures

import detect
import evaluate
from detector.export import convert
from detector.export.__main__ import main as export
from detector.export.suppression import suppress_onnx, suppress_openvino, suppression
from detector.inference.predictor import Predictor
from detector.inference.suppression import suppress
from detector.inference.thresholds import Thresholds
from detector.inference.weights import WeightsError

ROWS = 1200  # with three classes more pairs than suppression looks at


def scene(seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """boxes [B, ROWS, 4] in heaps around a few objects, scores [B, ROWS, 3] from 0 to 1."""
    random = np.random.default_rng(seed)
    centres, sides = random.uniform(50, 350, (images, 20, 2)), random.uniform(20, 120, (images, 20, 2))
    which = random.integers(0, 20, (images, ROWS, 1))
    at, size = (np.take_along_axis(array, which, 1) for array in (centres, sides))
    at = at + random.normal(0, 6, at.shape)
    size = size * np.exp(random.normal(0, 0.15, size.shape))
    scores = random.beta(0.4, 2, (images, ROWS, 3))
    return np.concatenate((at - size / 2, at + size / 2), 2).astype(np.float32), scores.astype(np.float32)


def on_onnx_runtime(model: onnx.ModelProto, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"boxes": boxes, "scores": scores})[0]


def on_openvino(model: onnx.ModelProto, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    import openvino

    compiled = openvino.compile_model(
        openvino.convert_model(io.BytesIO(model.SerializeToString())), "CPU", {"INFERENCE_NUM_THREADS": 1}
    )
    return compiled({"boxes": boxes, "scores": scores})[0]


def expected(boxes: np.ndarray, scores: np.ndarray, conf: float, iou: float, **options) -> np.ndarray:
    """What detector/inference/suppression.py makes of them, as rows of a graph's detections."""
    rows = []
    for index, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        row, label = (score > conf).nonzero()
        kept = suppress(box[row], score[row, label], label, iou, **options)
        rows.append(np.column_stack((np.full(len(kept[0]), index), *kept)))
    return np.concatenate(rows)


@pytest.mark.parametrize(
    ("run", "conf", "iou", "options"),
    [
        (on_onnx_runtime, 0.25, 0.45, {}),
        (on_onnx_runtime, 0.001, 0.7, {}),
        (on_onnx_runtime, 0.25, 0.45, {"average": False}),
        (on_onnx_runtime, 0.05, 0.2, {"limit": 7}),
        (on_onnx_runtime, 0.999999, 0.45, {}),
        (on_openvino, 0.05, 0.45, {}),
        (on_openvino, 0.999999, 0.45, {}),
    ],
)
def test_the_graph_suppresses_as_numpy_does(run, conf, iou, options):
    graph = suppression(ROWS, 3, conf, iou, **options)
    onnx.checker.check_model(graph)
    for images in (1, 3):
        boxes, scores = scene(images, images)
        if images == 3:
            scores[1] = 0  # a frame with no object between two others
        found, ours = run(graph, boxes, scores), expected(boxes, scores, conf, iou, **options)
        assert len(ours) > 20 * images / 3 or conf > 0.9 or "limit" in options
        np.testing.assert_array_equal(found[:, [0, 6]], ours[:, [0, 6]])
        np.testing.assert_allclose(found[:, 1:5], ours[:, 1:5], rtol=0, atol=1e-3)
        np.testing.assert_allclose(found[:, 5], ours[:, 5], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def inside(exported, card):
    """Each file of `exported` with suppression from .3 up at .45 in it, and where it comes from."""
    files = {}
    for kind, path in exported.items():
        if kind == "openvino-bf16":
            continue
        files[kind] = path.with_stem(f"{path.stem}-nms")
        its = replace(card, precision=kind.rpartition("-")[2] if "-" in kind else "fp32", suppressed=(0.3, 0.45))
        (suppress_openvino if path.suffix == ".xml" else suppress_onnx)(path, files[kind], its)
    return files


@pytest.mark.parametrize("kind", ["onnx", "onnx-fp16", "onnx-int8", "openvino", "openvino-int8"])
def test_a_file_that_suppresses_finds_the_same(kind, exported, inside):
    images = [*pictures(2, 60, 100), np.full((50, 50, 3), 114, np.uint8), *pictures(1, 90, 70, seed=8)]
    outside, within = (Predictor(files[kind], conf=0.3, threads=1) for files in (exported, inside))
    for ours, theirs in zip(outside.predict(images), within.predict(images), strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)
    assert sum(len(found) for found in outside.predict(images)) > 20


def test_labels_that_its_card_does_not_know_are_told(inside, tmp_path):
    """A stranger's graph: its detections are of a class that is not there."""
    model = onnx.load(inside["onnx"])
    last = model.graph.node[-1]
    (detections,) = last.output
    last.output[0] = "right"
    far = onnx.helper.make_tensor("far", onnx.TensorProto.FLOAT, [7], [0, 0, 0, 0, 0, 0, len(CLASSES)])
    model.graph.initializer.append(far)
    model.graph.node.append(onnx.helper.make_node("Add", ["right", "far"], [detections]))
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == "checksum"))
    onnx.save(model, tmp_path / "far.onnx")
    with pytest.raises(WeightsError, match=r"it makes arrays \(\(\d+, 7\),\)"):
        Predictor(tmp_path / "far.onnx", conf=0.3, threads=1).predict(pictures(1, 60, 100))


def test_in_bf16_it_is_refused(weights, inside, capsys):
    """OpenVINO would compute all of it in bf16, boxes too."""
    assert export([str(weights), "--to", "openvino", "--half", "--nms"]) == 2
    assert "--nms: in bf16" in capsys.readouterr().err
    with pytest.raises(WeightsError, match=r"does not run in bf16|has no bf16"):
        Predictor(inside["openvino"], precision="bf16", threads=1)


def test_thresholds_above_what_is_inside_filter(inside):
    image = pictures(1)[0]
    every = Predictor(inside["onnx"], conf=0.3, threads=1).predict(image)
    high = Predictor(inside["onnx"], conf=Thresholds(0.5, {"Car": 0.7}), threads=1).predict(image)
    counts = every.scores > np.where(every.labels == CLASSES.index("Car"), 0.7, 0.5)
    assert 0 < counts.sum() < len(every)
    np.testing.assert_array_equal(high.boxes, every.boxes[counts])


def test_the_doors_run_it_or_say_why_not(weights, exported, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(convert, "write_onnx", lambda graph, card, batch, path: shutil.copy(exported["onnx"], path))
    picture = dataset / "training/image_2/000000.png"
    for to, name in (("onnx", "net-nms.onnx"), ("openvino", "net-nms.xml")):
        assert export([str(weights), "--to", to, "--nms", "--conf", "0.3", "--threads", "1"]) == 0
        assert "suppresses" in capsys.readouterr().out
        file = str(weights.with_name(name))
        out = tmp_path / to
        assert detect.main([str(picture), "--weights", file, "--conf", "0.4", "--output", str(out)]) == 0
        assert json.loads((out / "detections.jsonl").read_text())["detections"]
    capsys.readouterr()
    assert detect.main([str(picture), "--weights", file, "--output", str(tmp_path / "low")]) == 2
    assert evaluate.main(["--weights", file, "--data", str(dataset), "--split", "val"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("suppresses by itself, with --conf 0.3 --iou 0.45" in line for line in said), said
    command = ["--weights", file, "--data", str(dataset), "--split", "val", "--conf", "0.3", "--threads", "1"]
    assert evaluate.main(command) == 0
