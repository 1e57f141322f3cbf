from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_dataset import make_dataset, real_kitti

from data.annotation import DatasetError
from data.detection import DetectionDataset, open_dataset
from data.formats import open_source
from data.formats.kitti import SPLITS, LabelError
from data.images import ImageError, image_size, read_image
from data.settings import DataSettings


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_sample_holds_objects_and_regions_to_ignore(tmp_path: Path, suffix: str) -> None:
    dataset = DetectionDataset(make_dataset(tmp_path, suffix=suffix), "train", "kitti3")
    assert len(dataset) == 6
    sample = dataset[1]
    assert sample.frame == dataset.frames[1] == "000001"
    assert sample.boxes.tolist() == [[10, 20, 60, 50]]
    assert sample.labels.tolist() == [0]
    assert sample.ignore.tolist() == [[70, 20, 90, 50], [100, 10, 120, 30]]  # the Van beside Cars, and DontCare
    assert (sample.boxes.dtype, sample.labels.dtype, sample.ignore.dtype) == (np.float32, np.int64, np.float32)
    assert DetectionDataset(tmp_path, "train", "kitti8")[1].labels.tolist() == [0, 1]
    assert DetectionDataset(tmp_path, "train", ["Tram"])[1].labels.tolist() == []


def test_the_image_is_rgb(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, frames=1)
    cv2.imwrite(str(root / "training/image_2/000000.png"), np.full((60, 160, 3), (255, 0, 0), np.uint8))  # BGR: blue
    assert DetectionDataset(root, "train")[0].image[0, 0].tolist() == [0, 0, 255]


def test_boxes_are_clipped_to_the_image_and_those_outside_left_out(tmp_path: Path) -> None:
    boxes = ("-5 10 20 99", "170 10 190 20", "5 5 5 9")
    lines = "".join(f"Car 0 0 0 {box} 1 1 1 1 1 1 0\n" for box in boxes)
    assert DetectionDataset(make_dataset(tmp_path, labels=lines), "train")[0].boxes.tolist() == [[0, 10, 20, 60]]


def test_an_empty_label_file_is_a_frame_without_objects(tmp_path: Path) -> None:
    sample = DetectionDataset(make_dataset(tmp_path, labels=""), "train")[0]
    assert sample.boxes.shape == sample.ignore.shape == (0, 4)
    assert sample.labels.shape == (0,)


def test_the_built_in_splits_are_chens_and_share_no_frame() -> None:
    train, val = ((SPLITS / f"{name}.txt").read_text().split() for name in ("train", "val"))
    assert (len(train), len(val)) == (3712, 3769)
    assert len({*train, *val}) == 7481
    assert (train[:3], val[:3]) == (["000000", "000003", "000007"], ["000001", "000002", "000004"])


def test_a_list_in_imagesets_wins_over_the_built_in_split(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    (root / "ImageSets/val.txt").write_text("000004\r\n000002\n\n")
    assert DetectionDataset(root, "val").frames == ("000004", "000002")
    (root / "ImageSets/val.txt").unlink()
    assert DetectionDataset(root, "val", allow_missing=True).frames == ("000001", "000002", "000004", "000005")
    assert len(DetectionDataset(root, "all")) == 6
    with pytest.raises(DatasetError, match=r"split 'test'.*ImageSets/test\.txt"):
        DetectionDataset(root, "test")


def test_missing_frames_are_counted_once_and_fail_unless_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_dataset(tmp_path)
    (root / "training/image_2/000001.png").unlink()
    (root / "training/label_2/000003.txt").unlink()
    with pytest.raises(DatasetError, match=r"2 of 6 frames of split 'train' lack .*000001, 000003"):
        DetectionDataset(root, "train")
    with caplog.at_level(logging.WARNING):
        dataset = DetectionDataset(root, "train", allow_missing=True)
    assert dataset.frames == ("000000", "000002", "000004", "000005")
    assert dataset.missing == ("000001", "000003")
    assert [record.getMessage().count("2 of 6") for record in caplog.records] == [1]


def test_the_test_images_need_no_training_folder(tmp_path: Path) -> None:
    (tmp_path / "testing/image_2").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"testing/image_2: no image in it"):
        open_source(tmp_path).test_images()
    for name in ("000002.jpg", "000001.png", "notes.txt"):
        (tmp_path / "testing/image_2" / name).touch()
    assert list(open_source(tmp_path).test_images()) == ["000001", "000002"]
    with pytest.raises(DatasetError, match=r"training/image_2: no such folder"):
        open_source(tmp_path).frames("train")


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        DetectionDataset(tmp_path, "train")
    root = make_dataset(tmp_path, frames=1)
    (root / "ImageSets/train.txt").write_text("")
    with pytest.raises(DatasetError, match="the list is empty"):
        DetectionDataset(root, "train")


def test_a_bad_label_is_found_before_training_starts(tmp_path: Path) -> None:
    root = make_dataset(tmp_path)
    (root / "training/label_2/000002.txt").write_text("Car 0 0 0 1 1 2 2 1 1 1 1 1 1\n")
    with pytest.raises(LabelError, match=r"000002\.txt:1: found 14 fields"):
        DetectionDataset(root, "train")
    (root / "training/label_2/000002.txt").write_text("Car 0 0 0 9 1 2 2 1 1 1 1 1 1 0\n")
    with pytest.raises(DatasetError, match=r"000002\.txt: object 1 \(Car\).*expected x1 <= x2"):
        DetectionDataset(root, "train")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_an_error_not_grey_pixels(tmp_path: Path, suffix: str) -> None:
    path = make_dataset(tmp_path, frames=1, suffix=suffix) / f"training/image_2/000000{suffix}"
    assert image_size(path) == (60, 160)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match="cut short"):
        read_image(path)
    for junk in (b"", b"no image"):
        path.write_bytes(junk)
        with pytest.raises(ImageError, match="not an image"):
            read_image(path)
        with pytest.raises(ImageError, match="not an image"):
            image_size(path)


def test_open_dataset_caches_training_frames_only(tmp_path: Path) -> None:
    settings = DataSettings(root=str(make_dataset(tmp_path)), cache="disk", cache_max_side=80)
    training, validation = (open_dataset(settings, "train", training=training) for training in (True, False))
    assert training[0].image.shape == (30, 80, 3)
    assert training[0].source == (60, 160)
    assert validation[0].image.shape == (60, 160, 3)
    assert len(list((tmp_path / "cached_images").iterdir())) == 1


def test_the_real_frames_are_read() -> None:
    root = real_kitti()
    assert len(DetectionDataset(root, "train")) == 519
    dataset = DetectionDataset(root, "val", "kitti3")
    assert len(dataset) == 362
    for index in range(0, 362, 60):
        sample = dataset[index]
        height, width = sample.image.shape[:2]
        assert (height, width) in ((375, 1242), (370, 1224), (374, 1238), (376, 1241))
        for boxes in (sample.boxes, sample.ignore):
            assert (boxes >= 0).all()
            assert (boxes[:, 2:] <= [width, height]).all()
