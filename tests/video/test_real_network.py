"""The door with a real, untrained network: the same boxes as asking the predictor directly."""

from __future__ import annotations

import json
import signal

import cv2
import numpy as np
import pytest
from fakes import make_video

import detect

torch = pytest.importorskip("torch")

from detector.config import Config  # noqa: E402
from detector.inference.predictor import Predictor  # noqa: E402
from detector.inference.trained import Trained  # noqa: E402
from detector.network.build import build_detector  # noqa: E402
from detector.video.container import open_video, to_rgb  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    settings = {"network": {"width": 0.125}, "data": {"classes": ["Car", "Pedestrian"]}, "phases": [{"size": [64, 96]}]}
    config = Config.parse(settings, "here")
    path = tmp_path_factory.mktemp("weights") / "untrained.pt"
    Trained(config, config.data.classes, build_detector(config.network, 2).state_dict()).save(path)
    return path


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, before[0]), signal.signal(signal.SIGTERM, before[1])


@pytest.mark.parametrize("batch", ["1", "3"])
def test_boxes_in_the_files_are_those_of_the_predictor(tmp_path, weights, batch):
    clip = make_video(tmp_path / "clip.mp4", frames=4)
    arguments = ["--weights", str(weights), "--output", str(tmp_path / "out"), "--conf", "0.000001", "--batch", batch]
    assert detect.main([str(clip), *arguments, "--device", "cpu", "--precision", "fp32"]) == 0
    container, stream = open_video(str(clip))
    predictor = Predictor(weights, "cpu", "fp32", conf=0.000001)
    images, size = [to_rgb(frame) for frame in container.decode(stream)], int(batch)
    expected = [found for at in range(0, 4, size) for found in predictor.predict(images[at : at + size])]
    written = [json.loads(line)["detections"] for line in (tmp_path / "out/detections.jsonl").read_text().splitlines()]
    assert len(written) == 4 and sum(map(len, written)) > 0
    for found, direct in zip(written, expected, strict=True):
        assert [entry["class"] for entry in found] == [predictor.classes[label] for label in direct.labels]
        np.testing.assert_allclose([entry["score"] for entry in found], direct.scores, atol=1e-5)
        np.testing.assert_allclose([entry["box"] for entry in found], direct.boxes, atol=0.05)


def test_classes_and_a_confidence_a_class_choose_what_is_written(tmp_path, weights, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))

    def found(*arguments):
        common = ["--weights", str(weights), "--output", str(tmp_path / "out"), "--save", "json"]
        assert detect.main([str(tmp_path / "a.png"), *common, "--precision", "fp32", *arguments]) == 0
        return json.loads((tmp_path / "out/detections.jsonl").read_text())["detections"]

    both = found("--conf", "0.000001")
    cars = [entry for entry in both if entry["class"] == "Car"]
    assert cars and len(cars) < len(both)
    assert found("--conf", "0.000001", "--classes", "Car") == cars == found("--conf", ".000001,Pedestrian=1")
    arguments = [
        str(tmp_path / "a.png"),
        "--weights",
        str(weights),
        "--classes",
        "car",
        "--output",
        str(tmp_path / "b"),
    ]
    assert detect.main(arguments) == 2 and not (tmp_path / "b").exists()
    assert "unknown class 'car': did you mean 'Car'? Valid: Car | Pedestrian" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [None, b"", b"just text\n", b"text" * 500, "foreign"],
    ids=["missing", "empty", "text", "long text", "foreign"],
)
def test_weights_that_are_not_ours_are_told_in_one_line_and_leave_no_folder(tmp_path, capsys, content):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    weights = tmp_path / "w.pt"
    if content == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, weights)
    elif content is not None:
        weights.write_bytes(content)
    code = detect.main([str(tmp_path / "a.png"), "--weights", str(weights), "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert code == 2 and str(weights) in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()
