"""A stand-in for a network, real images and files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import evaluate as door
from backbones.weight_file import read_weight_file
from detector.config import Config
from detector.evaluation.network_results import speed
from detector.evaluation.run import Outputs, score_network
from detector.inference.detections import Detections, to_labels
from detector.inference.trained import Trained
from detector.network.build import build_detector
from training import checkpoint

FRAMES = ("000003", "000007", "000011")
TRUTH = "Car 0.00 0 0.10 30.00 20.00 90.00 70.00 1.50 1.60 3.50 1.00 1.50 20.00 0.10\n"


class FakePredictor:
    """Finds what the brightness of an image says: nothing, or boxes of awkward float32 numbers."""

    classes = ("Car", "Pedestrian", "Cyclist")

    def __init__(self) -> None:
        self.timings = {"preprocess": 0.0, "network": 0.0, "postprocess": 0.0, "images": 0.0}
        self.batches: list[int] = []

    def predict(self, images: list[np.ndarray]) -> list[Detections]:
        self.batches.append(len(images))
        for stage, seconds in (("preprocess", 0.001), ("network", 0.008), ("postprocess", 0.001), ("images", 1.0)):
            self.timings[stage] += seconds * len(images)
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> Detections:
        n = int(image[0, 0, 0]) // 50
        boxes = np.array([[30.123456 + i, 20.987654, 90.5555, 70.3333] for i in range(n)], np.float32).reshape(-1, 4)
        return Detections(boxes, np.linspace(0.91, 0.0012345, n).astype(np.float32), np.arange(n) % 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("training", "testing"):
        (tmp_path / part / "image_2").mkdir(parents=True)
    (tmp_path / "training" / "label_2").mkdir()
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "val.txt").write_text("\n".join(FRAMES))
    for brightness, frame in zip((200, 0, 100), FRAMES, strict=True):
        image = np.full((80, 160, 3), brightness, np.uint8)
        cv2.imwrite(str(tmp_path / "training" / "image_2" / f"{frame}.png"), image)
        cv2.imwrite(str(tmp_path / "testing" / "image_2" / f"{frame}.png"), image)
        (tmp_path / "training" / "label_2" / f"{frame}.txt").write_text(TRUTH)
    return tmp_path


def run(root: Path, split: str, save: Path | None, json_path: Path | None, batch: int = 2) -> FakePredictor:
    predictor = FakePredictor()
    outputs = Outputs(str(json_path) if json_path else None, None, "arrays")
    score_network(lambda: predictor, root, split, save, batch, False, outputs)  # type: ignore[arg-type, return-value]
    return predictor


def test_saved_results_scored_again_give_the_same_numbers(root, tmp_path, capsys):
    predictor = run(root, "val", tmp_path / "saved", tmp_path / "network.json")
    assert predictor.batches == [2, 1]
    arguments = ["--labels", str(root / "training" / "label_2"), "--detections", str(tmp_path / "saved")]
    assert door.main([*arguments, "--json", str(tmp_path / "files.json")]) == 0
    network, files = (json.loads((tmp_path / name).read_text()) for name in ("network.json", "files.json"))
    assert network["kitti"] == files["kitti"]
    assert network["kitti"]["Car"]["easy"]["n_gt"] == 3
    assert network["coco"]["per_class"] == {name: files["coco"]["per_class"][name] for name in predictor.classes}
    assert network["coco"]["per_class"]["Car"]["AP50"] > 0
    assert network["speed"] == {
        "preprocess_ms": pytest.approx(1),
        "network_ms": pytest.approx(8),
        "postprocess_ms": pytest.approx(1),
        "images_per_s": pytest.approx(100),
    }
    assert "images/s" in capsys.readouterr().out


def test_results_are_whole_kitti_files_one_a_frame(root, tmp_path, capsys):
    run(root, "val", tmp_path / "saved", None)
    files = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert files == [f"{frame}.txt" for frame in FRAMES]
    assert (tmp_path / "saved" / f"{FRAMES[1]}.txt").read_bytes() == b""
    first = (tmp_path / "saved" / f"{FRAMES[0]}.txt").read_text().splitlines()
    assert first[0] == "Car -1 -1 -10 30.12 20.99 90.56 70.33 -1 -1 -1 -1000 -1000 -1000 -10 0.91"
    assert first[-1].split()[0] == "Car"
    assert first[-1].endswith(" 0.001234")


def test_the_test_split_has_no_labels_and_is_only_written(root, tmp_path, capsys):
    run(root, "test", tmp_path / "submission", None)
    assert sorted(path.stem for path in (tmp_path / "submission").iterdir()) == list(FRAMES)
    assert capsys.readouterr().out.startswith("results of 3 images")


def test_a_split_of_one_batch_and_of_many_gives_the_same_files(root, tmp_path, capsys):
    for batch in (1, 2, 8):
        run(root, "val", tmp_path / str(batch), None, batch)
    for frame in FRAMES:
        assert len({(tmp_path / str(batch) / f"{frame}.txt").read_bytes() for batch in (1, 2, 8)}) == 1


def test_scores_and_boxes_are_rounded_as_they_are_written():
    found = Detections(np.array([[1.005, 2, 3, 4]], np.float32), np.array([1 / 3], np.float32), np.array([1]))
    (label,) = to_labels(found, ("Car", "Van"))
    assert (label.name, label.box, label.score) == ("Van", (1.0, 2.0, 3.0, 4.0), 0.333333)


def test_a_checkpoint_is_read_once(root, tmp_path, capsys, monkeypatch):
    config = Config.parse({"network": {"width": 0.125}, "data": {"classes": ["Car"]}, "phases": [{"size": 64}]}, "here")
    Trained(config, ("Car",), build_detector(config.network, 1).state_dict()).save(tmp_path / "a.pt")
    read: list[object] = []
    monkeypatch.setattr(checkpoint, "read_weight_file", lambda path: read.append(path) or read_weight_file(path))
    words = ["--weights", tmp_path / "a.pt", "--data", root, "--device", "cpu", "--precision", "fp32"]
    assert door.main([str(word) for word in words]) == 0
    assert read == [tmp_path / "a.pt"]


def test_speed_of_no_images_is_zero():
    assert speed({"preprocess": 0.0, "network": 0.0, "postprocess": 0.0, "images": 0.0})["images_per_s"] == 0.0
