from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import torch
from small_network import CLASSES, pictures

import detect
from detector import Detector
from detector.inference.ahead import in_order
from detector.inference.backend import open_backend
from detector.inference.openvino_runtime import OpenVinoBackend
from detector.inference.predictor import Predictor
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import load_trained
from detector.inference.weights import WeightsError

EXACT = ("onnx", "openvino")
ROUNDED = ("onnx-fp16", "openvino-bf16", "onnx-int8", "openvino-int8")


@pytest.fixture(scope="module")
def images():
    return [*pictures(2, 60, 100), *pictures(1, 90, 70, seed=8)]


@pytest.mark.parametrize("kind", EXACT)
def test_an_exported_file_finds_what_the_checkpoint_finds(kind, weights, exported, images):
    expected = Predictor(weights, "cpu", "fp32", conf=0.3, threads=1).predict(images)
    predictor = Predictor(exported[kind], conf=0.3, threads=1)
    assert predictor.classes == CLASSES
    assert sum(len(found) for found in expected) > 20, "too little found to prove anything"
    for ours, theirs in zip(predictor.predict(images), expected, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ROUNDED)
def test_fewer_bits_move_scores_a_little(kind, weights, exported, inputs):
    """A wrong scale, channel order or layout moves them by tenths."""
    plain = open_backend(exported["onnx"], "cpu", "auto", 1).run(np.concatenate(inputs))
    rough = open_backend(exported[kind], "cpu", "auto", 1).run(np.concatenate(inputs))
    moved = np.abs(rough[1] - plain[1])
    assert np.ptp(plain[1]) > 0.5
    assert moved.max() > 0, "this is the float32 graph"
    assert moved.mean() < {"onnx-fp16": 0.001, "openvino-bf16": 0.01}.get(kind, 0.03)


def test_bf16_weights_in_pytorch_decode_in_float32(weights, inputs):
    def outputs(precision):
        network = load_trained(weights).build()
        backend = TorchBackend(network, CLASSES, "letterbox", (64, 96), "cpu", precision)
        return backend, backend.run(np.concatenate(inputs))

    (fp32, plain), (bf16, rough) = outputs("fp32"), outputs("bf16")
    assert {weight.dtype for weight in bf16.network.parameters()} == {torch.bfloat16}
    for name in ("mean", "std", "anchors"):
        assert torch.equal(getattr(bf16.network, name), getattr(fp32.network, name))
    for a, b in zip(fp32.network.decode(plain), bf16.network.decode(rough), strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.05 * a.abs().max()


def test_auto_measures_and_takes_one_of_two(weights):
    assert open_backend(weights, "cpu", "auto", 1).precision in ("fp32", "bf16")


def test_auto_on_a_cpu_is_what_was_measured_to_be_faster(weights, monkeypatch):
    for speedup, precision in ((2.0, "bf16"), (1.0, "fp32"), (0.2, "fp32")):
        monkeypatch.setattr("training.precision._bf16_speedup", lambda speedup=speedup: speedup)
        assert open_backend(weights, "cpu", "auto", 1).precision == precision


def test_the_file_says_what_it_is(exported, card):
    model = onnx.load(exported["onnx-int8"])
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["classes"]) == list(CLASSES)
    assert json.loads(properties["size"]) == [64, 96]
    assert (properties["resize"], properties["precision"]) == ("letterbox", "int8")
    backend = open_backend(exported["openvino-int8"], "auto", "auto", 1)
    assert (backend.classes, backend.size, backend.policy) == (card.classes, card.size, card.policy)
    assert (backend.precision, backend.device_type) == ("int8", "cpu")


@pytest.mark.parametrize(
    ("kind", "wanted", "hint", "precision"),
    [
        ("openvino", "auto", "f32", "fp32"),
        ("openvino", "bf16", "bf16", "bf16"),
        ("openvino-bf16", "auto", "bf16", "bf16"),
        ("openvino-bf16", "fp32", "f32", "fp32"),
        ("openvino-int8", "auto", "f32", "int8"),
    ],
)
def test_openvino_is_told_precision_and_threads(exported, kind, wanted, hint, precision):
    import openvino

    if precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    backend = OpenVinoBackend(exported[kind], wanted, 1)
    told = backend._compiled.get_property
    assert told("INFERENCE_PRECISION_HINT").get_type_name() == hint
    assert told("INFERENCE_NUM_THREADS") == told("NUM_STREAMS") == 1
    assert backend.precision == precision


@pytest.mark.parametrize(
    ("device", "providers", "number"),
    [("cuda", ["CUDA", "CPU"], "0"), ("cuda:1", ["CUDA", "CPU"], "1"), ("tensorrt", ["Tensorrt", "CUDA", "CPU"], "0")],
)
def test_an_onnx_file_goes_to_the_gpu_that_is_named(exported, monkeypatch, device, providers, number):
    """What ONNX Runtime is asked for, as there may be no GPU here: the file itself is opened on the CPU."""
    import onnxruntime

    names = [f"{provider}ExecutionProvider" for provider in providers]
    real, asked = onnxruntime.InferenceSession, []

    def session(path, options, providers):
        asked.extend(providers)
        opened = real(path, options, providers=["CPUExecutionProvider"])
        opened.get_providers = lambda: names
        return opened

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    backend = open_backend(exported["onnx"], device, "auto", 2)
    assert asked == [(name, {} if name.startswith("CPU") else {"device_id": number}) for name in names]
    assert backend.device_type == "cuda"


def test_a_gpu_that_onnx_runtime_cannot_use_is_told(exported, monkeypatch):
    import onnxruntime

    with pytest.raises(WeightsError, match="built without tensorrt"):
        open_backend(exported["onnx"], "tensorrt", "auto", 1)
    names, real = ["CUDAExecutionProvider", "CPUExecutionProvider"], onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(WeightsError, match="cannot use cuda"):
        open_backend(exported["onnx"], "cuda", "auto", 1)


def test_exported_files_run_without_torch(exported):
    code = (
        "import sys; import numpy as np; from detector.inference.predictor import Predictor\n"
        "for path in sys.argv[1:]: Predictor(path, threads=1).predict(np.zeros((60, 100, 3), 'u1'))\n"
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(exported["onnx"]), str(exported["openvino"])]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_detect_needs_nothing_but_the_file(exported, tmp_path):
    import cv2

    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), pictures(1)[0])
    out = tmp_path / "out"
    assert detect.main([str(picture), "--weights", str(exported["onnx"]), "--output", str(out), "--threads", "1"]) == 0
    found = json.loads((out / "detections.jsonl").read_text())["detections"]
    assert found and {entry["class"] for entry in found} <= set(CLASSES)


@pytest.mark.parametrize("kind", ["openvino", "openvino-int8", "onnx", "onnx-int8"])
def test_calls_that_run_beside_each_other_find_the_same(exported, kind):
    """To the last bit: every one has a thread to itself, as the plain backend has here."""
    images = pictures(7, 60, 100)
    plain = Predictor(exported[kind], conf=0.3, threads=1)
    beside = Predictor(exported[kind], conf=0.3, threads=3, many=True)
    assert (plain.ahead, beside.ahead, beside.backend.lanes) == (1, 4, 3)
    begun = [beside.start([image]) for image in images]  # more than run at once: the rest wait
    found = [wait()[0] for wait in reversed(begun)][::-1]
    again = [found for (found,) in in_order((beside.start([image]) for image in images), beside.ahead)]
    if isinstance(beside.backend, OpenVinoBackend):
        assert len(beside.backend._idle) == len(images), "requests are used again"
    for expected, *others in zip(plain.predict(images), found, again, strict=True):
        assert len(expected)
        for other in others:
            np.testing.assert_array_equal(other.boxes, expected.boxes)
            np.testing.assert_array_equal(other.scores, expected.scores)


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_a_video_in_python_finds_frame_by_frame_what_pictures_do(exported, tmp_path, kind):
    """Losslessly written, so that a frame is the picture; several frames are begun before the first is given."""
    clip, images = tmp_path / "clip.mkv", pictures(6, 64, 96)
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "bgr0"
        for image in images:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        out.mux(stream.encode(None))
    detector = Detector(exported[kind], conf=0.3, threads=2)
    seen = list(detector.video(clip))
    assert [frame.index for frame, _ in seen] == [0, 1, 2, 3, 4, 5]
    for image, (frame, found) in zip(images, seen, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        expected = detector(image)
        assert len(expected) == len(found)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_a_call_that_fails_beside_others_is_told(exported, kind):
    backend = open_backend(exported[kind], "cpu", "auto", 2, many=True)
    with pytest.raises(WeightsError, match="its graph cannot be computed"):
        backend.start(np.zeros((1, 32, 32, 3), np.uint8))()
    assert backend.start(np.zeros((1, 64, 96, 3), np.uint8))()[0].shape[0] == 1
