"""The doctor finds what is wrong with pictures in class folders, all of it, and says where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from data import doctor
from data.picture_doctor import examine_pictures, has_pictures


@pytest.fixture()
def folders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("ant", "bee", "cat"):
            (tmp_path / split / name).mkdir(parents=True)
            for k in range(2):
                picture = rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)
                cv2.imwrite(str(tmp_path / split / name / f"{k}.png"), picture)
    return tmp_path


def test_nothing_is_found_where_nothing_is_wrong(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([str(folders)]) == 0
    said = capsys.readouterr().out
    assert "12 pictures of 3 classes" in said and "No problems found." in said and "6 x 8" in said


def test_every_fault_is_found_named_and_counted(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = folders / "train", folders / "val"
    (train / "ant" / "0.png").write_bytes((train / "ant" / "0.png").read_bytes()[:60])
    (train / "ant" / "2.jpg").write_text("not a picture")
    shutil.copy(train / "bee" / "0.png", val / "bee" / "again.png")
    (val / "cat").rename(val / "cats")
    (val / "dog").mkdir()
    assert doctor.main([str(folders), "--json", "-"]) == 1
    told = json.loads(capsys.readouterr().out)
    found = {(problem["kind"], problem["file"]) for problem in told["problems"]}
    assert found == {
        ("picture that cannot be read whole", "train/ant/0.png"),
        ("picture that cannot be read whole", "train/ant/2.jpg"),
        ("picture in two splits", "val/bee/again.png"),
        ("split that cannot be used", "val"),
        ("class that is not in train", "val/cats"),
        ("class that is not in train", "val/dog"),
        ("class that is in train only", "val/cat"),
    }
    assert told["splits"] == {"train": 7, "val": 7} and told["problem_counts"]["picture that cannot be read whole"] == 2


def test_detection_data_is_none_of_its_business(folders: Path, tmp_path: Path) -> None:
    assert has_pictures(folders)
    for layout in ("training/image_2", "train/images", "train/labels"):
        (tmp_path / "other" / layout).mkdir(parents=True)
    assert not has_pictures(tmp_path / "other")


def test_tiny_imagenets_list_is_followed(folders: Path) -> None:
    root = folders / "tiny-imagenet-200"
    shutil.move(folders / "train", root / "train")
    (root / "val").mkdir()
    (folders / "val" / "ant").rename(root / "val" / "images")
    (root / "val" / "val_annotations.txt").write_text("0.png ant 0 0 1 1\n1.png bee 0 0 1 1\n")
    report = examine_pictures(folders, workers=1)
    assert report.splits == {"train": 6, "val": 2}
    assert [(problem.kind, problem.file) for problem in report.problems] == [("class that is in train only", "val/cat")]
