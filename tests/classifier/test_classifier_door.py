"""evaluate.py with a classifier: the numbers, the report, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
from classifier.config import Config
from classifier.evaluation.evaluation import Evaluation
from classifier.evaluation.report import most_confused, worst_mistakes
from classifier.evaluation.verdicts import Verdicts
from classifier.network import build_classifier
from classifier.trained import about
from training.checkpoint import Checkpoint, save_checkpoint

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh weights of which the last layer prefers red."""
    torch.manual_seed(0)
    values = {"network": {"attention": "none"}, "phases": [{"size": 32}], "data": {"crop": "padded", "workers": 0}}
    config = Config.parse(values, "here")
    network = build_classifier(config.network, len(NAMES))
    with torch.no_grad():
        network.backbone.fc.weight.zero_()
        network.backbone.fc.bias.copy_(torch.tensor([1.0, 0.0, 2.0]))
    path = tmp_path_factory.mktemp("weights") / "classifier.pt"
    save_checkpoint(path, Checkpoint("classification", config.plain(), network.state_dict(), about(config, NAMES)))
    return path


def score(*words: object) -> int:
    return evaluate.main(["--device", "cpu", "--precision", "fp32", *map(str, words)])


def test_a_classifier_gets_its_numbers_and_a_report(
    weights: Path, colours_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert score("--weights", weights, "--data", colours_root, "--json", "-", "--report", report) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["top5"]) == (12, 100)
    assert told["top1"] == pytest.approx(100 / 3)
    assert told["classes"]["red"] == {"images": 4, "top1": 100, "top5": 100}
    assert told["confusions"] == [
        {"true": "blue", "said": "red", "images": 4},
        {"true": "green", "said": "red", "images": 4},
    ]
    page = (report / "index.html").read_text()
    assert page.count("<figure>") == 8 and "red 0.67: is blue" in page and "$" not in page
    for name in ("confusion.png", "sureness.png", "mistakes.png"):
        assert (report / name).stat().st_size > 0


def test_the_split_is_a_folder_and_the_default_the_one_validated_on(
    weights: Path, colours_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("--weights", weights, "--data", colours_root, "--split", "train") == 0
    assert capsys.readouterr().out.startswith("24 pictures of 3 classes")


def test_classes_are_shown_with_their_words_where_the_data_has_them(
    weights: Path, colours_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(colours_root, tmp_path / "words")
    (root / "words.txt").write_text("blue\tsky\n")
    assert score("--weights", weights, "--data", root, "--json", tmp_path / "scores.json") == 0
    assert "blue sky" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "scores.json").read_text())["classes"]) == set(NAMES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--conf", ".3"), "--conf: only for detectors"),
        (("--save-detections", "x"), "--save-detections: only for detectors"),
        (("--split", "vol"), "vol: no such folder (there are train, val)"),
    ],
)
def test_what_is_not_for_classifiers_is_refused_in_a_line(
    weights: Path, colours_root: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("--weights", weights, "--data", colours_root, *words) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1


def test_classes_without_pictures_are_allowed_when_asked_for(
    weights: Path, colours_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = shutil.copytree(colours_root, tmp_path / "some")
    shutil.rmtree(some / "val" / "green")
    assert score("--weights", weights, "--data", some) == 2
    assert "1 without pictures (green)" in capsys.readouterr().err
    assert score("--weights", weights, "--data", some, "--allow-missing", "--json", "-") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["top1"] == 50 and set(told["classes"]) == {"blue", "red"}


def test_the_worst_mistakes_are_the_surest_and_a_large_matrix_shows_what_is_confused() -> None:
    labels, said = np.arange(30), np.arange(30)
    said[[3, 7, 9]] = 25
    sure = np.linspace(0, 1, 30)
    verdicts = Verdicts(labels, said, (said != labels).astype(np.int64), sure, np.zeros(30))
    assert worst_mistakes(verdicts) == [9, 7, 3]
    shown = most_confused(verdicts, 30).tolist()
    assert len(shown) == 20 and {3, 7, 9, 25} <= set(shown) and shown == sorted(shown)
    confusions = Evaluation(tuple(map(str, labels)), verdicts, 1.0).confusions()
    assert [(row.true, row.said, row.images) for row in confusions] == [("3", "25", 1), ("7", "25", 1), ("9", "25", 1)]
