"""Several views with every runtime: each is what its image alone gives, and an exported file has one size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_network import pictures

import detect
from detector import Detector
from detector.inference.backend import open_backend
from detector.inference.detections import Detections
from detector.inference.joining import join, unmirrored
from detector.inference.predictor import Predictor
from detector.inference.weights import SHIPPED, WeightsError

LOW = 0.03


def same(found: Detections, expected: Detections) -> None:
    assert len(expected) > 5, "too little found to prove anything"
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("kind", ["pt", "onnx", "openvino"])
def test_a_mirrored_view_is_that_of_the_mirrored_image(weights: Path, exported: dict[str, Path], kind: str) -> None:
    path = weights if kind == "pt" else exported[kind]
    images = pictures(3, 60, 100)
    low = Predictor(path, "cpu", "fp32", conf=LOW, threads=1)
    both = Predictor(path, "cpu", "fp32", conf=10 * LOW, threads=1, views=("mirror",))
    for image, found in zip(images, both.predict(images), strict=True):
        mirrored = unmirrored(low.predict(np.ascontiguousarray(image[:, ::-1])), 100)
        same(found, join([low.predict(image), mirrored], 10 * LOW, 0.45))
    assert both.timings["images"] == 3


def test_half_is_the_same_network_at_half_the_size(weights: Path) -> None:
    (image,) = pictures(1, 120, 200)
    backend = open_backend(weights, "cpu", "fp32", 1)
    half = backend.at_half()
    assert (backend.size, half.size) == ((64, 96), (32, 64)), "sides stay multiples of 32, rounded up"
    views = [Predictor(one, conf=LOW).predict(image) for one in (backend, half)]
    same(Predictor(backend, conf=10 * LOW, views=("half",)).predict(image), join(views, 10 * LOW, 0.45))


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_exported_file_has_no_half(exported: dict[str, Path], kind: str) -> None:
    with pytest.raises(WeightsError, match=r"one input size, so --views mirror works, and half needs the \.pt"):
        Predictor(exported[kind], threads=1, views=("half",))


def test_python_and_the_command_take_views(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), pictures(1)[0])
    found = Detector(weights, device="cpu", precision="fp32", conf=0.3, threads=1, views=["half", "mirror"])(picture)
    assert len(Detector(weights, device="cpu", views="half")._predictor._views) == 2
    words = [str(picture), "--weights", str(weights), "--threads", "1", "--precision", "fp32", "--conf", "0.3"]
    out = tmp_path / "out"
    assert detect.main([*words, "--views", "half,mirror", "--save", "kitti", "--output", str(out)]) == 0
    lines = next(out.rglob("picture.txt")).read_text().splitlines()
    assert len(lines) == len(found) > 0
    with pytest.raises(SystemExit):
        detect.main([*words, "--views", "twice"])
    assert "--views: view 'twice': expected half or mirror, both with a comma, or none" in capsys.readouterr().err


def test_the_accurate_shipped_model_takes_half_unless_told_otherwise() -> None:
    assert [len(Predictor("kitti", "cpu", "fp32", threads=1, views=views)._views) for views in (None, ())] == [2, 1]
    assert all(model.views == () for name, model in SHIPPED.items() if name != "kitti")
