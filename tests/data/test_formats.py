"""YOLO's, COCO's and BDD100K's files: read as they are meant, and every fault said in one line."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from foreign import change_json, coco, picture, roboflow
from small_dataset import make_dataset

from data import anchors, doctor
from data.annotation import DatasetError
from data.detection import DetectionDataset, open_dataset
from data.formats import format_of, open_source
from data.formats.kitti import DONT_CARE
from data.settings import DataSettings


@pytest.fixture
def yolo_root(tmp_path: Path) -> Path:
    return roboflow(tmp_path / "roboflow", train=2, val=1)


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    return coco(tmp_path / "coco", train=2, val=1)


def labels_of(root: Path) -> Path:
    return sorted((root / "train/labels").iterdir())[0]


# ------------------------------------------------------------------ telling them apart


def test_the_format_is_told_from_what_is_there(yolo_root: Path, coco_root: Path, tmp_path: Path) -> None:
    assert format_of(make_dataset(tmp_path / "kitti", frames=1)) == "kitti"
    assert format_of(yolo_root) == format_of(yolo_root / "data.yaml") == "yolo"
    assert format_of(coco_root) == format_of(coco_root / "annotations/instances_val2017.json") == "coco"
    (yolo_root / "data.yaml").rename(yolo_root / "mine.yml")
    assert format_of(yolo_root) == "yolo"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: no data set in it.*training/image_2.*data\.yaml.*instances_train"):
        format_of(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"nothing: no such folder"):
        format_of(tmp_path / "nothing")


# ------------------------------------------------------------------ YOLO


def test_a_set_as_roboflow_writes_it_is_read(yolo_root: Path) -> None:
    train, val = DetectionDataset(yolo_root, "train"), DetectionDataset(yolo_root, "val")
    assert train.class_set.names == ("bus", "traffic light")
    assert (len(train), len(val)) == (2, 1)
    sample = train[0]
    assert sample.labels.tolist() == [0, 1]
    x1, y1, x2, y2 = map(int, sample.boxes[0])
    assert (x2 - x1, y2 - y1) == (40, 20)
    inside = sample.image[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3].reshape(-1, 3).mean(axis=0)
    assert inside[2] > inside[0] + 50  # OpenCV wrote the bus in blue


@pytest.mark.parametrize(
    "splits",
    [
        "train: images/train\nval: images/val\n",
        "path: images\ntrain: train\nval: [val]\n",
        "path: /nowhere/else\ntrain: [images/train, images/more]\nval: images/val\n",
        "train: train.txt\nval: images/val\n",
    ],
)
def test_splits_are_folders_lists_of_folders_or_lists_of_images(tmp_path: Path, splits: str) -> None:
    boxes = picture(np.random.default_rng(0), tmp_path / "images/train/a.png")
    picture(np.random.default_rng(1), tmp_path / "images/val/b.png")
    (tmp_path / "images/more").mkdir()
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (tmp_path / "train.txt").write_text("./images/train/a.png\n")
    (tmp_path / "data.yaml").write_text(splits + "names: {0: bus, 1: traffic light}\n")
    source = open_source(tmp_path)
    assert source.splits() == ("train", "val")
    (frame,) = source.frames("train")
    assert frame == "a" and source.has(frame) and boxes
    (found,) = source.annotations(frame)
    assert (found.name, found.box) == ("traffic light", (48, 16, 80, 48))
    (frame,) = source.frames("val")
    assert source.annotations(frame) == []  # no label file: background
    assert len(source.frames("all")) == 2


def test_a_polygon_becomes_its_box_and_dontcare_a_region(yolo_root: Path) -> None:
    yaml = yolo_root / "data.yaml"
    yaml.write_text(yaml.read_text().replace("nc: 2", "nc: 3").replace("light'", "light', 'DontCare'"))
    labels_of(yolo_root).write_text("0 0.25 0.5 0.5 0.25 0.75 0.5 0.5 0.75\n2 0.5 0.5 0.5 0.5\n")
    dataset = DetectionDataset(yolo_root, "train")
    assert dataset.class_set.names == ("bus", "traffic light")
    assert dataset[0].boxes.tolist() == [[32, 16, 96, 48]]
    assert dataset[0].ignore.tolist() == [[32, 16, 96, 48]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0 320 240 50 60", "'320' is no share of the image; expected numbers from 0 to 1, not pixels"),
        ("2 0.5 0.5 0.1 0.1", "class is '2', expected one of 0 to 1, which data.yaml names"),
        ("bus 0.5 0.5 0.1 0.1", "class is 'bus'"),
        ("0 0.5 0.5 0.1", "found 4 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "found 6 fields"),
        ("0 0.5 nan 0.1 0.1", "'nan' is no share"),
        ("0 0.5 0.5 -0.1 0.1", "width -0.1 and height 0.1, expected 0 or more"),
    ],
)
def test_a_bad_yolo_line_is_told_with_file_and_line(yolo_root: Path, line: str, found: str) -> None:
    path = labels_of(yolo_root)
    path.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DatasetError) as error:
        DetectionDataset(yolo_root, "train")
    assert str(error.value).startswith(f"{path}:3: ") and found in str(error.value)
    (problem,) = doctor.examine(yolo_root, 1).problems
    assert (problem.kind, problem.line) == ("malformed label line", 3)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("train: train/images\n", "no names of the classes"),
        ("train: train/images\nnc: 2\n", "no names of the classes"),
        ("train: train/images\nnc: 3\nnames: [bus, traffic light]\n", "nc is 3 and there are 2 names"),
        ("train: train/images\nnames: [bus, bus]\n", "class name 'bus' stands there twice"),
        ("train: train/images\nnames: {0: bus, 2: tram}\n", "numbered [0, 2], expected 0, 1, 2 and so on"),
        ("train: train/images\nnames: [yes, no]\n", "True is no class name"),
        ("train: here/images\nnames: [bus, traffic light]\n", "no such folder or list as 'here/images'"),
        ("val: valid/images\nnames: [bus, traffic light]\n", "split 'train' is not among its splits (val)"),
        ("train: {a: b}\nnames: [bus, traffic light]\n", "train is {'a': 'b'}, expected a folder"),
        ("names: [bus\n", "not valid YAML"),
        ("- names\n", "expected keys and values"),
    ],
)
def test_a_bad_data_yaml_is_told(yolo_root: Path, content: str, found: str) -> None:
    (yolo_root / "data.yaml").write_text(content)
    with pytest.raises(DatasetError) as error:
        DetectionDataset(yolo_root, "train")
    assert str(error.value).startswith(str(yolo_root / "data.yaml")) and found in str(error.value)


def test_the_doctor_counts_what_is_odd_in_yolo(yolo_root: Path) -> None:
    sound = doctor.examine(yolo_root, 1)
    assert (sound.images, sound.problems, sound.background) == (3, [], 0)
    assert sound.classes == {"bus": 3, "traffic light": 3} and sound.splits == {"train": 2, "val": 1}
    path = labels_of(yolo_root)
    path.rename(path.with_name("orphan.txt"))
    other = sorted((yolo_root / "valid/labels").iterdir())[0]
    other.write_text("0 0.9 0.5 0.4 0.1\n")
    report = doctor.examine(yolo_root, 1)
    assert report.background == 1
    assert [(problem.kind, problem.file.split("/")[0]) for problem in report.problems] == [
        ("label without an image", "train"),
        ("box outside the image", "valid"),
    ]
    images = [str(path) for path in sorted((yolo_root / "train/images").iterdir())]
    for name, listed in (("train", images[:1]), ("valid", images[1:])):  # two splits of one folder
        (yolo_root / f"{name}.txt").write_text("\n".join(listed))
    yaml = yolo_root / "data.yaml"
    yaml.write_text(yaml.read_text().replace("../train/images", "train.txt").replace("../valid/images", "valid.txt"))
    assert [problem.file.split("/")[-1] for problem in doctor.examine(yolo_root, 1).problems] == ["orphan.txt"]


# ------------------------------------------------------------------ COCO


def test_a_set_as_coco_has_it_is_read(coco_root: Path) -> None:
    dataset = DetectionDataset(coco_root, "train")
    assert dataset.class_set.names == ("bus", "traffic light")  # no zebra
    assert dataset.frames == ("000000000100", "000000000101")
    assert dataset[0].labels.tolist() == [0, 1]
    assert dataset[0].ignore.tolist() == [[0, 0, 12.5, 4.25]]  # the crowd
    assert (dataset[0].boxes[:, 2:] - dataset[0].boxes[:, :2]).tolist() == [[40, 20], [14, 30]]
    assert len(DetectionDataset(coco_root, "val2017")) == 1
    assert len(DetectionDataset(coco_root, "all")) == 3
    assert open_source(coco_root).splits() == ("train", "val")
    only_lights = DetectionDataset(coco_root, "train", ["traffic light"])
    assert only_lights[0].ignore.tolist() == []  # a crowd of what nobody looks for
    assert [item.name for item in only_lights.annotations("000000000100")] == ["bus", "traffic light"]


def test_roboflows_way_with_coco_is_read(coco_root: Path, tmp_path: Path) -> None:
    for split, year in (("train", "train2017"), ("valid", "val2017")):
        shutil.copytree(coco_root / year, tmp_path / "other" / split)
        shutil.copy(
            coco_root / f"annotations/instances_{year}.json", tmp_path / "other" / split / "_annotations.coco.json"
        )
    assert (len(DetectionDataset(tmp_path / "other", "train")), len(DetectionDataset(tmp_path / "other", "val"))) == (
        2,
        1,
    )


def damaged(key: str, place: int, **changes: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        entries = json.loads(path.read_text())[key]
        entries[place] |= changes
        change_json(path, **{key: entries})

    return damage


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.write_text("<html>not found</html>"), ":1: no JSON"),
        (lambda path: path.write_text("[1, 2]"), "no list of images"),
        (lambda path: change_json(path, annotations={}), "no list of annotations"),
        (lambda path: change_json(path, categories=[]), "list of categories is empty"),
        (damaged("categories", 2, name="bus"), "the class name 'bus' stands there twice"),
        (damaged("categories", 2, id=3), "id 3, as another has"),
        (damaged("annotations", 1, category_id=5), "annotation 2 names category 5, which is not listed"),
        (damaged("annotations", 1, bbox=[1, 2, 3]), "annotation 2: bbox is [1, 2, 3]"),
        (damaged("annotations", 1, bbox=[1, 2, -3, 4]), "annotation 2: bbox is [1, 2, -3, 4]"),
        (damaged("annotations", 1, bbox=[1, 2, float("nan"), 4]), "annotation 2: bbox is [1, 2, nan, 4]"),
        (damaged("images", 0, file_name="../../secret.jpg"), "leads out of the data set"),
        (damaged("annotations", 1, bbox=[1, 2, 10**400, 4]), "annotation 2: bbox is"),
        (damaged("images", 0, file_name=7), "image 100 has no file_name"),
    ],
)
def test_a_bad_coco_file_is_told(coco_root: Path, damage: Callable[[Path], None], found: str) -> None:
    path = coco_root / "annotations/instances_train2017.json"
    damage(path)
    with pytest.raises(DatasetError) as error:
        DetectionDataset(coco_root, "train")
    assert str(error.value).startswith(str(path)) and found in str(error.value) and "\n" not in str(error.value)


def test_the_doctor_counts_what_is_odd_in_coco(coco_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert doctor.examine(coco_root, 1).problems == []
    path = coco_root / "annotations/instances_train2017.json"
    damaged("annotations", 0, image_id=999)(path)
    with caplog.at_level(logging.WARNING):
        assert len(DetectionDataset(coco_root, "train").annotations("000000000100")) == 2  # of three
    assert "annotation 1 names image 999, which is not listed; it is left out (1 such" in caplog.text
    damaged("annotations", 3, category_id=5)(path)
    damaged("images", 1, width=256)(path)
    (coco_root / "val2017/000000000100.jpg").unlink()
    assert sorted(problem.kind for problem in doctor.examine(coco_root, 1).problems) == [
        "annotation without an image",
        "image of another size",
        "image that is not there",
        "malformed annotation",
    ]
    with pytest.raises(DatasetError, match=r"split 'val' lack their image"):
        DetectionDataset(coco_root, "val")


def test_bdd100k_is_read(tmp_path: Path) -> None:
    picture(np.random.default_rng(0), tmp_path / "images/100k/train/0000f77c.jpg")
    labels = [
        {"id": "1", "category": "rider", "box2d": {"x1": 1.5, "y1": 2, "x2": 30.25, "y2": 40}, "attributes": {}},
        {"id": "2", "category": "lane", "poly2d": []},
        {"id": "3", "category": "car", "box2d": {"x1": 0, "y1": 0, "x2": 9, "y2": 9}, "attributes": {"crowd": True}},
    ]
    (tmp_path / "labels/det_20").mkdir(parents=True)
    path = tmp_path / "labels/det_20/det_train.json"
    path.write_text(json.dumps([{"name": "0000f77c.jpg", "labels": labels}, {"name": "b.jpg", "labels": None}]))
    for root in (tmp_path, path):
        source = open_source(root)
        assert source.kind == "bdd100k" and source.splits() == ("train",)
        assert source.frames("train") == ("0000f77c", "b")
        assert (source.has("0000f77c"), source.has("b")) == (True, False)
        found = [(item.name, item.box, item.ignore) for item in source.annotations("0000f77c")]
        assert found == [("rider", (1.5, 2, 30.25, 40), False), ("car", (0, 0, 9, 9), True)]
    labels[0]["box2d"] = {"x1": 1}
    path.write_text(json.dumps([{"name": "0000f77c.jpg", "labels": labels}]))
    source.frames("train")
    with pytest.raises(DatasetError, match=r"det_train\.json: label '1': box2d is"):
        fresh = open_source(tmp_path)
        fresh.annotations(fresh.frames("train")[0])


# ------------------------------------------------------------------ classes, whatever the format


def test_kittis_sets_are_refused_where_no_name_is_kittis(coco_root: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"kitti8 are KITTI's, and .*coco has bus, traffic light, zebra; set data.cla"
    ):
        DetectionDataset(coco_root, "train", "kitti8")


def test_ignored_names_are_regions(coco_root: Path) -> None:
    dataset = DetectionDataset(coco_root, "train", ignore=["bus"])
    assert dataset.class_set.names == ("traffic light",)
    assert (len(dataset[0].boxes), len(dataset[0].ignore)) == (1, 2)
    assert [item.ignore for item in dataset.annotations(dataset.frames[0])] == [True, False, True]
    with pytest.raises(DatasetError, match=r"'bus' is both in data.classes and in data.ignore"):
        DetectionDataset(coco_root, "train", ["bus"], ignore=["bus"])


def told(settings: DataSettings, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        open_dataset(settings, "train", training=True)
    return [record.getMessage() for record in caplog.records]


def test_names_that_may_not_be_meant_are_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_dataset(tmp_path, frames=2)
    line = " 0.00 0 0 10 20 60 50 -1 -1 -1 -1000 -1000 -1000 -10\n"
    for path in (root / "training/label_2").iterdir():
        path.write_text(f"Bus{line}bus{line}rider{line}DontCare{line}")
    settings = DataSettings(root=str(root), classes=("bus", "tram"), ignore=("rider",))
    dataset = DetectionDataset(root, "train", settings.classes, ignore=settings.ignore)
    assert dataset[0].labels.tolist() == [0, 0] and len(dataset[0].ignore) == 2
    assert [item.name for item in dataset.annotations("000000")] == ["bus", "bus", "rider", DONT_CARE]
    assert told(settings, caplog) == [
        "split 'train': 2 objects are called 'Bus'; taken for 'bus'",
        "split 'train': no object is a Tram",
    ]
    assert told(settings.model_copy(update={"classes": ("bus",), "ignore": ()}), caplog)[1:] == [
        "split 'train': neither in data.classes nor in data.ignore, so background: rider (2)"
    ]
    assert told(settings.model_copy(update={"classes": "auto", "ignore": ()}), caplog) == []
    with pytest.raises(DatasetError, match=r"has no object of lorry; its labels hold .*rider \(2\).*data.classes=auto"):
        open_dataset(settings.model_copy(update={"classes": ("lorry",), "ignore": ()}), "train", training=True)
    with pytest.raises(DatasetError, match=r"no object of Car, Van"):
        open_dataset(settings.model_copy(update={"classes": "kitti8", "ignore": ()}), "train", training=True)


def test_labels_that_are_nowhere_to_be_found_are_told(yolo_root: Path) -> None:
    (yolo_root / "train/labels").rename(yolo_root / "train/txt")
    with pytest.raises(
        DatasetError, match=r"its labels hold nothing; those of \w+.* are looked for in .*train/labels/"
    ):
        open_dataset(DataSettings(root=str(yolo_root), classes=("bus",)), "train", training=True)


@pytest.mark.parametrize("make", [roboflow, coco])
def test_anchors_are_found_in_every_format(
    make: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make(tmp_path / "data", train=2, val=1)
    assert anchors.main([str(root), "--count", "2", "--size", "64x128"]) == 0
    out = capsys.readouterr().out
    assert "4 objects at 64x128" in out and "anchors: [[14, 30], [40, 20]]" in out
    assert anchors.main([str(root), "--classes", "bus", "--count", "1", "--size", "64x128"]) == 0
    assert "anchors: [[40, 20]]" in capsys.readouterr().out
