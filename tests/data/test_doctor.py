"""data.doctor on a small sound dataset, and on one damage after the other."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from data import doctor
from data.detection import DetectionDataset

REPOSITORY = Path(__file__).parents[2]
KITTI = REPOSITORY.parent / "shared" / "kitti"
LINE = "{name} 0.00 0 -1.57 {box} 1.5 1.6 3.9 1.0 1.5 20.0 -1.6\n"
WIDTH, HEIGHT = 96, 40


def line(box: str = "10 5 40.5 30", name: str = "Car") -> str:
    return LINE.format(name=name, box=box)


@pytest.fixture
def root(tmp_path):
    """Frames 000000 to 000003, png and jpg in turn, two each in train and val; nothing is wrong with it."""
    (tmp_path / "training/image_2").mkdir(parents=True)
    (tmp_path / "training/label_2").mkdir()
    (tmp_path / "ImageSets").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for i in range(4):
        assert cv2.imwrite(str(tmp_path / f"training/image_2/00000{i}.{'png' if i % 2 == 0 else 'jpg'}"), noise)
        (tmp_path / f"training/label_2/00000{i}.txt").write_text(line() * i)
    (tmp_path / "ImageSets/train.txt").write_text("000000\n000001\n")
    (tmp_path / "ImageSets/val.txt").write_text("000002\n000003\n")
    return tmp_path


def problems(root: Path) -> list[tuple[str, str, int | None]]:
    return [(problem.kind, problem.file, problem.line) for problem in doctor.examine(root, workers=2).problems]


def test_a_sound_dataset_is_clean_and_counted(root, capsys):
    assert doctor.main([str(root)]) == 0
    assert "No problems found." in capsys.readouterr().out
    report = doctor.examine(root, workers=1)
    assert (report.images, report.labels) == (4, 4)
    assert report.classes["Car"] == 6  # 0 + 1 + 2 + 3
    assert report.box_heights["25-40"] == 6  # from 5 to 30
    assert report.image_sizes == {"96 x 40": 4}
    assert report.splits == {"train": 2, "val": 2}


def test_missing_files_of_a_frame_are_named(root):
    (root / "training/image_2/000001.jpg").unlink()
    (root / "training/label_2/000002.txt").unlink()
    assert problems(root) == [
        ("label without an image", "training/label_2/000001.txt", None),
        ("image without a label file", "training/image_2/000002.png", None),
        ("listed frame without its files", "ImageSets/train.txt", 2),
        ("listed frame without its files", "ImageSets/val.txt", 1),
    ]


@pytest.mark.parametrize("name", ["000000.png", "000001.jpg"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99, "all but the last byte"])
def test_an_image_cut_short_anywhere_is_found(root, name, share):
    path = root / "training/image_2" / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] if isinstance(share, str) else data[: int(share * len(data))])
    assert problems(root) == [("image that cannot be read whole", f"training/image_2/{name}", None)]


@pytest.mark.parametrize("name", ["000000.png", "000001.jpg"])
def test_an_image_whose_end_was_never_written_is_found(root, name):
    """What a full disk or a broken copy leaves: the right length, zeros at the end."""
    path = root / "training/image_2" / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert problems(root) == [("image that cannot be read whole", f"training/image_2/{name}", None)]


def test_one_wrong_byte_in_a_png_is_found(root):
    path = root / "training/image_2/000002.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert problems(root) == [("image that cannot be read whole", "training/image_2/000002.png", None)]


def test_a_png_with_right_checksums_and_too_few_pixels_is_found(root):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((1 + 3 * WIDTH) * HEIGHT // 2))
    path = root / "training/image_2/000000.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert problems(root) == [("image that cannot be read whole", "training/image_2/000000.png", None)]


def test_text_under_an_image_name_is_found(root):
    (root / "training/image_2/000003.jpg").write_text("<html>not found</html>")
    assert problems(root) == [("image that cannot be read whole", "training/image_2/000003.jpg", None)]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("Car 0 0 0 1 2 3\n", "malformed label line"),
        (line("10 5 nan 30"), "malformed label line"),
        (line(name="a/b"), "malformed label line"),
        (line("40 5 10 30"), "box inverted or without area"),
        (line("10 30 40 5"), "box inverted or without area"),
        (line("10 5 10 30"), "box inverted or without area"),
        (line("-2 5 40 30"), "box outside the image"),
        (line("10 -2 40 30"), "box outside the image"),
        (line("10 5 98 30"), "box outside the image"),
        (line("10 5 40 42"), "box outside the image"),
        (line("10 5 98 30", "DontCare"), "box outside the image"),
    ],
    ids=str.strip,
)
def test_a_bad_line_is_reported_with_its_number(root, bad, kind):
    (root / "training/label_2/000002.txt").write_text(line() + "\n" + bad + line())
    assert problems(root) == [(kind, "training/label_2/000002.txt", 3)]


def test_lines_around_a_bad_one_are_still_examined(root):
    (root / "training/label_2/000002.txt").write_text("rubbish\n" + line(name="a/b") + line("98 5 99 9") + line())
    found = [(kind, number) for kind, _, number in problems(root)]
    assert found == [("malformed label line", 1), ("malformed label line", 2), ("box outside the image", 3)]


def test_line_numbers_are_those_of_an_editor(root):
    """A form feed or a unicode line separator ends no line, neither here nor where the dataset reads."""
    (root / "training/label_2/000002.txt").write_bytes(b"\x0c" + line().encode() + b"Car\xe2\x80\xa8\r\nrubbish\r\n")
    assert [number for _, _, number in problems(root)] == [2, 3]


def test_names_are_counted_and_told_only_where_neither_list_has_them(root):
    (root / "training/label_2/000002.txt").write_text(line(name="bus") * 2 + line(name="Bus") + line(name="DontCare"))
    report = doctor.examine(root, 1)
    assert (report.classes["bus"], report.classes["Bus"]) == (2, 1)
    assert [problem.kind for problem in report.problems] == ["names that differ in case only"]
    (root / "training/label_2/000002.txt").write_text(line(name="bus") * 2 + line(name="rider"))
    assert doctor.examine(root, 1, classes=["bus", "Car"], ignore=["rider"]).problems == []
    (problem,) = doctor.examine(root, 1, classes=["Car"], ignore=["rider"]).problems
    assert problem.kind == "unknown class" and "'bus' (2)" in problem.message


def test_a_byte_order_mark_does_no_harm(root):
    for path in [*root.glob("ImageSets/*.txt"), *root.glob("training/label_2/*.txt")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert problems(root) == []
    assert DetectionDataset(root, "train").frames == ("000000", "000001")


@pytest.mark.parametrize("box", ["0 0 95 39", "0.00 5 96 40", "-1 -1 20 20"])
def test_boxes_that_touch_the_border_are_sound(root, box):
    (root / "training/label_2/000002.txt").write_text(line(box))
    assert problems(root) == []


def test_a_frame_listed_twice_and_one_in_both_splits_are_named(root):
    (root / "ImageSets/val.txt").write_text("000002\n\n000003\n000002\n000001\n")
    assert problems(root) == [
        ("frame twice in a list", "ImageSets/val.txt", 4),
        ("frame in train and in val", "ImageSets/val.txt", 5),
    ]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_list_is_named(root, content):
    (root / "ImageSets/val.txt").write_text(content)
    assert problems(root) == [("empty list of frames", "ImageSets/val.txt", None)]


def test_lists_beside_train_and_val_may_share_frames_with_them(root):
    (root / "ImageSets/trainval.txt").write_text("000000\n000001\n000002\n000003\n")
    (root / "ImageSets/test.txt").write_text("000004\n007517\n")  # frames of testing/, which has no labels
    assert problems(root) == []


def test_without_lists_of_its_own_a_part_of_kitti_is_told_so_once_a_split(root):
    shutil.rmtree(root / "ImageSets")
    assert problems(root) == [
        ("listed frame without its files", "built-in list train.txt", None),
        ("listed frame without its files", "built-in list val.txt", None),
    ]


def test_two_images_of_one_frame_are_named(root):
    shutil.copy(root / "training/image_2/000001.jpg", root / "training/image_2/000000.jpg")
    assert problems(root) == [("two images for one frame", "training/image_2/000000.jpg", None)]


def test_long_lists_are_folded_unless_all_is_asked_for(root, capsys):
    (root / "training/label_2/000002.txt").write_text("rubbish\n" * 30)
    assert doctor.main([str(root)]) == 1
    folded = capsys.readouterr().out
    assert "malformed label line: 30" in folded
    assert folded.count("000002.txt:") == doctor.SHOWN
    assert "and 25 more" in folded
    assert doctor.main([str(root), "--all"]) == 1
    assert capsys.readouterr().out.count("000002.txt:") == 30


def test_no_line_is_wider_than_80_columns(root, capsys):
    (root / "training/label_2/000002.txt").write_text(line(name="Bus") * 3 + line("98 5 99 9"))
    shutil.rmtree(root / "ImageSets")
    doctor.main([str(root)])
    out = capsys.readouterr().out.splitlines()
    assert max(map(len, (text for text in out if str(root) not in text))) <= 80


def test_the_json_holds_every_problem(root, tmp_path, capsys):
    (root / "training/label_2/000002.txt").write_text("rubbish\n" * 30 + line())
    assert doctor.main([str(root), "--json", str(tmp_path / "report.json")]) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert [problem["line"] for problem in report["problems"]] == list(range(1, 31))
    assert report["problem_counts"] == {"malformed label line": 30}
    assert report["classes"]["Car"] == 5  # 0 + 1 + 1 + 3
    capsys.readouterr()
    assert doctor.main([str(root), "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--workers", "0"], [".", "--json", "no/such/folder/x.json"]])
def test_wrong_input_is_one_line_and_2(arguments, capsys):
    try:
        status = doctor.main(arguments)
    except SystemExit as ended:  # argparse's way
        status = ended.code
    assert status == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert arguments[-1] in err


def test_an_interrupt_ends_with_130(root):
    for i in range(4, 3000):  # enough work to be interrupted in
        (root / f"training/image_2/{i:06}.png").symlink_to(root / "training/image_2/000000.png")
        (root / f"training/label_2/{i:06}.txt").symlink_to(root / "training/label_2/000003.txt")
    command = [sys.executable, "-m", "data.doctor", str(root), "--workers", "1"]
    program = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stderr.read(1)  # the progress bar: the work has begun
    time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert b"Traceback" not in err
    assert out == b""


def test_the_labels_of_kitti_are_all_sound(tmp_path):
    if not (KITTI / "label_2_all.tar.gz").exists():
        pytest.skip("needs the KITTI labels beside the checkout")
    folder = tmp_path / "training" / "label_2"
    folder.mkdir(parents=True)
    with tarfile.open(KITTI / "label_2_all.tar.gz") as archive:
        for member in archive.getmembers():
            if member.isfile():
                (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    report = doctor.examine(tmp_path, workers=2)
    assert report.labels == 7481
    assert report.classes["Car"] == 28742  # as published with the dataset
    assert report.classes["Pedestrian"] == 4487
    assert report.splits == {"train": 3712, "val": 3769}
    kinds = {problem.kind for problem in report.problems}
    assert kinds == {"label without an image", "listed frame without its files"}


def test_the_real_frames_are_clean():
    if not (KITTI / "training").exists():
        pytest.skip("needs real KITTI frames beside the checkout")
    report = doctor.examine(KITTI, workers=2)
    assert report.images == report.labels == 881
    assert report.problems == []
