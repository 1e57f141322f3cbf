"""Data that does not suit a trained network: one line that names the file, from every command that takes both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest
from coloured_pictures import make_pictures
from small_dataset import make_dataset

from classifier.config import Config as ClassifierConfig
from classifier.network import build_classifier
from classifier.trained import Trained as Classifier
from detector.config import Config
from detector.inference.trained import Trained
from detector.network.build import build_detector

Capture = pytest.CaptureFixture[str]
OTHERS = ("insight.gradcam", "insight.rotation", "insight.prune")
DOORS = ["evaluate", "insight.scales", *(pytest.param(door, marks=pytest.mark.slow) for door in OTHERS)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config().override(["network.width=0.125", "data.classes=kitti3", "phases=[{size: 64}]"])
    path = tmp_path_factory.mktemp("detector") / "detector.pt"
    Trained(config, ("Car", "Pedestrian", "Cyclist"), build_detector(config.network, 3).state_dict()).save(path)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"task": "classification", "network": {"attention": "se"}, "phases": [{"size": 64}]}
    config = ClassifierConfig.parse(values, "here")
    path = tmp_path_factory.mktemp("classifier") / "classifier.pt"
    Classifier(config, ("blue", "green", "red"), build_classifier(config.network, 3).state_dict()).save(path)
    return path


def frames(root: Path) -> Path:
    make_dataset(root, frames=2)
    (root / "ImageSets/val.txt").write_text("000000\n000001\n")
    return root


def nothing(root: Path) -> str:
    root.mkdir()
    return f"{root}: no data set in it"


def only_folders(root: Path) -> str:
    for folder in ("training/image_2", "training/label_2"):
        (root / folder).mkdir(parents=True)
    return f"{root}: 3769 of 3769 frames of split 'val' lack their image or label file"


def no_label(root: Path) -> str:
    (frames(root) / "training/label_2/000001.txt").unlink()
    return f"{root}: 1 of 2 frames of split 'val' lack their image or label file (first: 000001)"


def no_picture(root: Path) -> str:
    file = frames(root) / "training/image_2/000001.png"
    file.write_text("no picture")
    return f"{file}: not an image that can be decoded"


def pictures(root: Path) -> str:
    return f"{make_pictures(root)}: no data set in it"


def no_classes(root: Path) -> str:
    root.mkdir()
    return f"{root}/val: no such folder"


def an_empty_class(root: Path) -> str:
    make_pictures(root, val=0)
    return f"{root}/val: 3 of 3 class folders hold no pictures"


def no_picture_of_a_class(root: Path) -> str:
    file = make_pictures(root) / "val/green/2.png"
    file.write_text("no picture")
    return f"{file}: not an image that can be decoded"


def frames_of_a_detector(root: Path) -> str:
    return f"{frames(root)}/val: no such folder"


FOR_DETECTORS = (nothing, only_folders, no_label, no_picture, pictures)
FOR_CLASSIFIERS = (no_classes, an_empty_class, no_picture_of_a_class, frames_of_a_detector)


def assert_told_of(door: str, network: Path, spoil: Callable[[Path], str], root: Path, capsys: Capture) -> None:
    part = spoil(root)
    weights = ("--weights", network) if door == "evaluate" else (network,)
    assert_told(door, (*weights, "--data", root, "--split", "val"), part, capsys)


def assert_told(door: str, words: Sequence[object], part: str, capsys: Capture) -> None:
    status = import_module(door).main(list(map(str, words)))
    said = [line for line in capsys.readouterr().err.splitlines() if "/s]" not in line and line.strip()]  # but for bars
    assert status == 2 and len(said) == 1, said
    assert said[0].startswith("error: ") and part in said[0]


@pytest.mark.parametrize("spoil", FOR_DETECTORS)
@pytest.mark.parametrize("door", DOORS)
def test_of_a_detector(
    door: str, spoil: Callable[[Path], str], detector: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert_told_of(door, detector, spoil, tmp_path / "data", capsys)


@pytest.mark.parametrize("spoil", FOR_CLASSIFIERS)
@pytest.mark.parametrize("door", DOORS)
def test_of_a_classifier(
    door: str, spoil: Callable[[Path], str], classifier: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert_told_of(door, classifier, spoil, tmp_path / "data", capsys)


def test_of_pictures_without_a_data_set(detector: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    assert_told("insight.gradcam", (detector, tmp_path / "empty"), "empty: no .png or .jpg in this folder", capsys)
    assert_told("insight.gradcam", (detector, tmp_path / "text.png"), "text.png: not an image that can be", capsys)
