"""Small files that broke version 0.1: every one ends in a result or in one line of ours that names the file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.annotation import DatasetError, check_class_names
from data.doctor import examine
from data.formats.kitti import frames_of_split, read_labels
from data.images import ImageError, check_image, image_size, read_image
from detector.config import Config
from detector.inference.backend import open_backend
from detector.inference.trained import Trained, load_trained
from detector.network.build import build_detector
from detector.video.session import Options, run
from tests.faults.fuzz import Silent
from training.checkpoint import CheckpointError
from training.config import ConfigError

FILES = Path(__file__).parent / "files"


def told(kind: type[Exception], work: Callable[[], object]) -> str:
    """The one line that `work` ends in."""
    with pytest.raises(kind) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1000
    return text


@pytest.mark.parametrize("name", ["s_bomb60000.png", "w70000.png"])
def test_an_image_that_promises_too_much_is_told(name: str) -> None:
    try:
        assert read_image(FILES / name).ndim == 3
    except ImageError as error:
        assert name in str(error) and "\n" not in str(error)
    assert "s_bomb60000.png" in told(ImageError, lambda: read_image(FILES / "s_bomb60000.png"))
    assert "s_bomb60000.png" in told(ImageError, lambda: image_size(FILES / "s_bomb60000.png"))


def test_the_doctor_reports_it_and_goes_on(tmp_path: Path) -> None:
    for folder in ("image_2", "label_2"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    (tmp_path / "training" / "image_2" / "000000.png").write_bytes((FILES / "s_bomb60000.png").read_bytes())
    (tmp_path / "training" / "label_2" / "000000.txt").write_text("")
    report = examine(tmp_path, workers=1)
    assert [problem.kind for problem in report.problems if problem.file.endswith("000000.png")] == [
        "image that cannot be read whole"
    ]


def test_a_jpeg_damaged_in_its_middle_is_told_by_the_doctor_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    content = cv2.imencode(".jpg", pixels)[1].tobytes()
    (tmp_path / "good.jpg").write_bytes(content)
    middle = len(content) // 2
    (tmp_path / "bad.jpg").write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])
    assert np.array_equal(check_image(tmp_path / "good.jpg"), read_image(tmp_path / "good.jpg"))
    assert read_image(tmp_path / "bad.jpg").shape == (64, 96, 3)
    assert "bad.jpg: the image is damaged (Corrupt JPEG data" in told(
        ImageError, lambda: check_image(tmp_path / "bad.jpg")
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "the list is empty"),
        (b"\n \n", "the list is empty"),
        (bytes(range(256)), "not a text file in UTF-8"),
        (b"000001\n\x1b[31m\n", "cannot be the name of a frame"),
    ],
)
def test_a_list_that_is_none_is_told(tmp_path: Path, content: bytes, part: str) -> None:
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_bytes(content)
    said = told(DatasetError, lambda: frames_of_split(tmp_path, "train", ()))
    assert "train.txt: " in said and part in said


def test_folders_in_the_place_of_files_are_told(tmp_path: Path) -> None:
    for name in ("ImageSets/train.txt", "label_2/000001.txt"):
        (tmp_path / name).mkdir(parents=True)
    for work in (
        lambda: frames_of_split(tmp_path, "train", ()),
        lambda: read_labels(tmp_path / "label_2/000001.txt"),
    ):
        with pytest.raises(IsADirectoryError) as caught:
            work()
        assert str(caught.value.filename).endswith(".txt")


def test_a_bad_source_does_not_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("s_bomb60000.png", "w70000.png", "m00_png.mov", "mjpeg_033.avi", "s_size17000x2.mkv", "s_12000.png")
    options = Options(tuple(str(FILES / name) for name in names), tmp_path / "out")
    assert run(options, lambda ahead: (Silent(), 1), threading.Event()) == 1
    said = capsys.readouterr().err
    for name in ("s_bomb60000.png", "w70000.png", "s_size17000x2.mkv"):
        assert f"{name}: " in said
    videos = {path.name for path in (tmp_path / "out" / "video").iterdir()}
    assert {"m00_png.mp4", "mjpeg_033.mp4"} >= videos  # and no part of one that was refused
    assert (tmp_path / "out" / "image" / "s_12000.jpg").stat().st_size > 0
    assert len((tmp_path / "out" / "detections.jsonl").read_text().splitlines()) > len(names)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("card_classestrav.onnx", "cannot be a class name"),
        ("card_classes1.onnx", "scores of 3 classes, its metadata names 1"),
        ("card_deepjson.onnx", "its metadata is damaged"),
        ("rename.xml", "its graph has no 'images'"),
    ],
)
def test_an_exported_file_is_held_against_its_card(name: str, part: str) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    said = told(ValueError, lambda: open_backend(FILES / name, "cpu", "auto", 1))
    assert name in said and part in said


@pytest.mark.parametrize("name", ["../../x", "/etc", "a\\b", "..", "", " Car", "Ca\x1b[31m", "a\nb", "x" * 65, 7])
def test_a_name_that_is_a_path_or_no_name_is_refused(name: object) -> None:
    assert "here" in told(DatasetError, lambda: check_class_names(["Car", name], "here"))


def test_a_word_is_no_list_of_names() -> None:
    assert "list" in told(DatasetError, lambda: check_class_names("Car", "here"))  # type: ignore[arg-type]


def test_names_of_any_language_are_taken_each_once() -> None:
    assert check_class_names(["Fußgänger", "traffic light", "車"], "here") == ("Fußgänger", "traffic light", "車")
    assert "twice" in told(DatasetError, lambda: check_class_names(["Car", "Car"], "here"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config().override(["network.width=0.125", "data.classes=kitti3"])
    path = tmp_path_factory.mktemp("faults") / "whole.pt"
    Trained(config, ("Car", "Pedestrian", "Cyclist"), build_detector(config.network, 3).state_dict()).save(path)
    return path


def key_dropped(content: dict) -> None:
    del content["model"]["backbone.conv1.weight"]


def shape_changed(content: dict) -> None:
    content["model"]["backbone.conv1.weight"] = torch.zeros(3)


def more_classes(content: dict) -> None:
    content["classes"] = [f"class {k}" for k in range(8)]


def names_with_paths(content: dict) -> None:
    content["classes"] = ["../a", "b", "c"]


def model_of_numbers(content: dict) -> None:
    content["model"] = {"a": 1}


def classes_of_letters(content: dict) -> None:
    content["classes"] = "Car"


def data_of_one_word(content: dict) -> None:
    content["config"]["data"] = "x"


def huge_size(content: dict) -> None:
    content["config"]["phases"][-1]["size"] = 32 * 10**6


def not_a_number(content: dict) -> None:
    content["model"]["backbone.conv1.weight"][0] = float("nan")


@pytest.mark.parametrize(
    "damage",
    [
        *(key_dropped, shape_changed, more_classes, names_with_paths),
        *(model_of_numbers, classes_of_letters, data_of_one_word, huge_size, not_a_number),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told(
    checkpoint: Path, tmp_path: Path, damage: Callable[[dict], None]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    damage(content)
    torch.save(content, tmp_path / "bad.pt")
    assert "bad.pt" in told((CheckpointError, ValueError), lambda: load_trained(tmp_path / "bad.pt").build())


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "no such file)"), (b"hi\n", "no such file)"), (bytes(5000), "legacy .tar format)")]
)
def test_what_is_no_weight_file_is_told_in_words(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "odd.pt").write_bytes(content)
    said = told(CheckpointError, lambda: load_trained(tmp_path / "odd.pt"))
    assert "odd.pt: not a PyTorch weight file" in said and reason in said


@pytest.mark.parametrize("record", [b"/data.pkl", b"/data/0"])
def test_a_record_marked_as_a_folder_is_told(checkpoint: Path, tmp_path: Path, record: bytes) -> None:
    """torch reads no bytes of a folder: the pickle, or a tensor, would be what the memory held before."""
    spoilt, path, folder = bytearray(checkpoint.read_bytes()), tmp_path / "bad.pt", 0x10
    entry = spoilt.rindex(b"PK\x01\x02", 0, spoilt.rindex(record))  # of the directory at the end
    spoilt[entry + 38] |= folder
    path.write_bytes(spoilt)
    assert "damaged" in told(CheckpointError, lambda: load_trained(path))


def test_a_list_where_weights_belong_is_told() -> None:
    assert "model_list.pt" in told(CheckpointError, lambda: load_trained(FILES / "model_list.pt"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["phases=[1]", "phases.0.size=64"], ""),
        (["phases=[5]", "phases.0.0.0=1"], "phases.0.0"),
        (["phases.²=1"], "item '²'"),
        (["name=2001-99-99"], "month must be in 1..12"),
        (["optimizer.lr=!!float x"], "could not convert"),
        (["optimizer.lr=.inf"], "optimizer.lr = inf"),
        (["optimizer.weight_decay=.inf"], "should be a finite number"),
        (["train.seed=18446744073709551616"], "train.seed"),
        (["train.seed=0x" + "f" * 5000], "train.seed"),
        (["train.threads=100000000000"], "train.threads"),
        (["data.workers=3000"], "data.workers"),
        (["phases.0.epochs=10000000000000000"], "phases.0.epochs"),
        (["phases.0.size_range=[32, 99999999999]"], "size range"),
        (["phases.0.size=3200000"], "up to 8192"),
        (['data.root="a\\0b"'], "printable"),
        (['name="a\\nb\\e[31m"'], "printable"),
        (["x" * 100_000 + "=1"], "unknown setting xxx"),
        (["name=" + "[" * 500], "nested too deep"),
    ],
)
def test_a_word_that_breaks_the_config_is_told_in_a_short_line(tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "a.yaml").write_text("phases: [{size: 64}]\n")
    if not part:  # the word before is put right by the one behind it
        assert Config.load(tmp_path / "a.yaml", words).size == (64, 64)
        return
    assert part in told(ConfigError, lambda: Config.load(tmp_path / "a.yaml", words))


@pytest.mark.parametrize(
    "text", ['base: "a\\0b"', "base: [1]", "phases: &a [*a]", "<<: 5", "a: 2001-99-99", "? [1]\n: 3"]
)
def test_a_file_that_breaks_the_config_is_told_in_a_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert str(tmp_path) in told(ConfigError, lambda: Config.load(tmp_path / "a.yaml"))


@pytest.mark.parametrize("name", ["bomb.yaml", "deep.yaml"])
def test_a_config_that_unfolds_is_told_in_a_short_line(name: str) -> None:
    assert name in told(ConfigError, lambda: Config.load(FILES / name))
