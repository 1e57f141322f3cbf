"""Validation while training says what evaluate.py would say of the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch

from data.detection import DetectionDataset, open_dataset
from data.formats.kitti import read_labels
from detector.config import Config
from detector.evaluation import validation
from detector.evaluation.evaluator import evaluate
from detector.evaluation.run import LOWEST_SCORE, Outputs, score_network
from detector.evaluation.validation import flat_metrics, validate
from detector.inference.predictor import Predictor
from detector.inference.pytorch import TorchBackend
from detector.network.build import build_detector
from detector.network.yolov3.network import YOLOv3
from training.distributed import World


def alone(rank: int = 0, size: int = 1) -> World:
    return World(rank, size, torch.device("cpu"))


@pytest.fixture(params=["stretch", "letterbox"])
def config(request: pytest.FixtureRequest, tiny_config: Path) -> Config:
    """At an input size of another aspect than the frames have, so that the resize policy matters."""
    return Config.load(tiny_config, [f"data.resize={request.param}", "phases.1.size=[96, 128]"])


@pytest.fixture
def network(config: Config) -> YOLOv3:
    torch.manual_seed(0)
    return build_detector(config.network, 2).eval()


@pytest.fixture
def dataset(config: Config) -> DetectionDataset:
    return open_dataset(config.data, "train", training=False)


def test_validation_finds_and_scores_what_evaluate_finds_and_scores(
    config: Config, network: YOLOv3, dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}

    def spy(truth, results, classes):
        found.update(results)
        return evaluate(truth, results, classes)

    monkeypatch.setattr(validation, "evaluate", spy)
    validated = validate(network, dataset, config, "fp32", alone())

    classes = dataset.class_set.names
    backend = TorchBackend(network, classes, config.data.resize, config.size, "cpu", "fp32")
    outputs = Outputs(str(tmp_path / "out.json"), None, "arrays")
    root, saved = Path(config.data.root), tmp_path / "saved"
    score_network(lambda: Predictor(backend, conf=LOWEST_SCORE), root, "train", saved, 8, False, outputs)
    assert len(dataset.frames) == 9  # a whole batch and one of one
    assert sum(map(len, found.values())) > 100
    assert found == {frame: read_labels(saved / f"{frame}.txt") for frame in dataset.frames}
    assert validated.metrics == flat_metrics(json.loads((tmp_path / "out.json").read_text()))


def test_ranks_share_the_frames(config: Config, network: YOLOv3, dataset: DetectionDataset) -> None:
    backend = TorchBackend(network, dataset.class_set.names, config.data.resize, config.size, "cpu", "fp32")
    first, second = (validation._predict(backend, dataset, config, alone(rank, 2)) for rank in (0, 1))
    assert sorted([*first, *second]) == sorted(dataset.frames)
    assert abs(len(first) - len(second)) <= 1


def test_the_shown_pictures_are_the_first_frames_at_full_size(
    config: Config, network: YOLOv3, dataset: DetectionDataset
) -> None:
    pictures = validate(network, dataset, config, "fp32", alone()).pictures
    assert len(pictures) == 3
    for picture, frame in zip(pictures, dataset.frames, strict=False):
        plain = cv2.cvtColor(cv2.imread(str(dataset.image_path(frame))), cv2.COLOR_BGR2RGB)
        assert picture.shape == plain.shape
        assert (picture == plain).mean() > 0.5


def test_the_line_names_each_class_that_kitti_judges() -> None:
    metrics = {"mAP50": 0.5, "AP": 0.25, "AP40_Car_easy": 90.0, "AP40_Car_hard": 70.0, "AP40_Cyclist_moderate": 1.0}
    assert validation._line(metrics) == "mAP50 0.500  AP 0.250  AP40  Car 90.0/-/70.0  Cyclist -/1.0/-"
    assert validation._line({"mAP50": 0.5, "AP": 0.25}) == "mAP50 0.500  AP 0.250"
