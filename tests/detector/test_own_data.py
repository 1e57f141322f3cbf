"""Data sets of other formats and other class names through the doors: trained on, resumed, scored, detected with."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign import coco, roboflow

import detect
import evaluate
import train
from detector.inference.trained import load_trained

CLASSES = ("bus", "traffic light")


def trained(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    return train.main()


@pytest.mark.parametrize("make", [roboflow, coco])
def test_a_set_of_other_names_trains_evaluates_and_detects(
    make: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root = make(tmp_path / "data", train=8, vary=12)
    config = tmp_path / "own.yaml"
    config.write_text(
        f"name: own\n"
        f"data: {{root: '{root}', classes: auto, workers: 0}}\n"
        f"network: {{width: 0.125, anchors: auto, attention: none}}\n"
        f"phases: [{{size: [64, 128], epochs: 1, batch_size: 2}}]\n"
        f"train: {{runs: '{tmp_path / 'runs'}', precision: fp32, threads: 1}}\n"
    )
    run = tmp_path / "runs/own"
    assert trained(monkeypatch, config) == 0
    said = capfd.readouterr().err
    assert "anchors: mean IoU" in said and "over 16 objects at 64x128" in said and "fit badly" not in said

    weights = run / "best.pt"
    found = load_trained(weights)
    assert found.classes == found.config.data.classes == CLASSES
    anchors = found.config.network.anchors
    assert len(anchors) == 9 and all(2 <= width <= 40 and 20 <= height <= 30 for width, height in anchors)

    assert trained(monkeypatch, config, "--resume", run) == 0  # auto is what it was
    assert load_trained(run / "last.pt").config == found.config

    numbers, plain = tmp_path / "numbers.json", ["--threads", "1", "--precision", "fp32"]
    assert evaluate.main(["--weights", str(weights), "--data", str(root), "--json", str(numbers), *plain]) == 0
    scores = json.loads(numbers.read_text())
    assert scores["kitti"] == {} and scores["images"] == 3
    assert {name: row["n_gt"] for name, row in scores["coco"]["per_class"].items()} == dict.fromkeys(CLASSES, 3)
    with open(run / "metrics.csv", newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["mAP50"]) == pytest.approx(scores["mAP50"])

    results = tmp_path / "results"
    words = ["--weights", weights, "--data", root, "--split", "all", "--save-detections", results, *plain]
    assert evaluate.main(list(map(str, words))) == 0
    assert len(list(results.rglob("*.txt"))) == 11

    image = next(root.rglob("*.jpg"))
    words = [image, "--weights", weights, "--output", tmp_path / "out", "--conf", "0", "--save", "json", *plain]
    assert detect.main(list(map(str, words))) == 0
    line = json.loads((tmp_path / "out/detections.jsonl").read_text())
    assert {item["class"] for item in line["detections"]} == set(CLASSES)


def test_wrong_classes_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = coco(tmp_path / "data", 1, 1)
    config = tmp_path / "own.yaml"
    config.write_text(f"name: own\ndata: {{root: '{root}', workers: 0}}\ntrain: {{runs: '{tmp_path / 'runs'}'}}\n")
    for words, found in (
        ((), "kitti8 are KITTI's, and"),
        (("data.classes=[lorry]",), "no object of lorry; its labels hold bus (1), traffic light (1); set data.cla"),
        (("data.classes=[bus]", "data.ignore=[bus]"), "'bus' is both in data.classes and in data.ignore"),
        (("data.classes=auto", "network.anchors=auto"), "2 objects have fewer than 9 different shapes"),
    ):
        assert trained(monkeypatch, config, *words) == 2
        said = capfd.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and found in said
