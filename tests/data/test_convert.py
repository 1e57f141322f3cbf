"""data.convert: what goes there and back is what it was."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from foreign import coco, roboflow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_dataset import make_dataset

from data import convert
from data.annotation import Annotation
from data.formats import WRITTEN, open_source, open_writer
from data.formats.boxes import from_shares, to_shares
from data.formats.kitti import DONT_CARE
from data.formats.yolo import format_shares
from data.scenes.__main__ import main as draw_scenes

Content = dict[str, dict[str, list[Annotation]]]  # split: frame: what is in it
SIZE = (37, 101)


def content(root: Path) -> Content:
    """Everything that is the same in all formats: names, boxes, regions."""
    source, found = open_source(root), Content()
    for split in source.splits():
        frames = [frame for frame in source.frames(split) if source.has(frame)]
        if frames:
            found[split] = {frame: [plain(item) for item in source.annotations(frame)] for frame in frames}
    return found


def plain(item: Annotation) -> Annotation:
    return Annotation(item.name, item.box, ignore=item.ignore)


def there(source: Path, root: Path, to: str, *more: str) -> Path:
    assert convert.main([str(source), str(root), "--to", to, *more]) == 0
    return root


def write(root: Path, to: str, frames: Sequence[Sequence[Annotation]]) -> Path:
    """A data set of these frames, the first half to train."""
    writer = open_writer(root, to, ("bus", "traffic light", "50%"))
    for number, items in enumerate(frames):
        split = "train" if number <= len(frames) // 2 else "val"
        path = writer.image_path(split, f"{number:06d}", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((*SIZE, 3), number, np.uint8))
        writer.add(split, path, SIZE, items)
    writer.close()
    return root


def edges(draw: st.DrawFn, side: int, digits: int) -> list[float]:
    """Two edges within a side, with so many decimals."""
    return sorted(draw(st.integers(0, side * 10**digits)) / 10**digits for _ in range(2))


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    digits = draw(st.sampled_from((0, 2, 6)))  # KITTI writes 2, others up to 6
    ys, xs = (edges(draw, side, digits) for side in SIZE)
    name = draw(st.sampled_from(("bus", "traffic light", "50%", DONT_CARE)))
    return Annotation(name, (xs[0], ys[0], xs[1], ys[1]), ignore=name == DONT_CARE)


@given(
    st.lists(st.lists(annotations(), max_size=4), min_size=1, max_size=3), st.permutations(["kitti", "yolo", "coco"])
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_round_through_all_formats_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, frames: list[list[Annotation]], order: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    frames = [[Annotation("bus", (0, 0, 1.5, 2)), *frames[0]], *frames[1:]]
    root = first = write(folder / "0", order[0], frames)
    before = content(first)
    assert [items for split in before.values() for items in split.values()] == frames
    for number, to in enumerate((*order[1:], order[0]), 1):
        root = there(root, folder / str(number), to, "--link", "hard")
        assert content(root) == before
    if order[0] != "kitti":  # which lists no classes, so that others may number them anew
        return
    again = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    texts = {path: data for path, data in again.items() if path.suffix == ".txt"}
    assert texts == {path: (first / path).read_bytes() for path in texts}  # to the last digit


@given(st.lists(st.integers(0, 10**6), min_size=4, max_size=4), st.integers(1, 5000), st.integers(1, 5000))
def test_shares_of_six_decimals_are_written_as_they_were(parts: list[int], height: int, width: int) -> None:
    shares = tuple(part / 10**6 for part in parts)
    text = format_shares(from_shares(shares, (height, width)), (height, width))
    assert text == " ".join(f"{share:.6f}" for share in shares)


def test_shares_by_hand() -> None:
    assert from_shares((0.5, 0.25, 0.5, 0.5), (200, 400)) == (100, 0, 300, 100)
    assert to_shares((100, 0, 300, 100), (200, 400)) == (0.5, 0.25, 0.5, 0.5)


def test_kittis_attributes_come_back_through_coco_and_the_third_dimension_does_not(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "kitti", frames=2)
    back = there(there(root, tmp_path / "coco", "coco"), tmp_path / "back", "kitti")
    for frame in ("000000", "000001"):
        before, after = (open_source(path).annotations(frame) for path in (root, back))
        for old, new in zip(before, after, strict=True):
            flat = dataclasses.replace(
                new, **{key: getattr(old, key) for key in ("alpha", "dimensions", "location", "rotation_y")}
            )
            assert flat == old and (new.alpha == -10) and new.occlusion == old.occlusion
        assert (root / f"training/image_2/{frame}.png").read_bytes() == (
            back / f"training/image_2/{frame}.png"
        ).read_bytes()


def test_a_crowd_becomes_dontcare_and_classes_are_renamed_and_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = there(
        coco(tmp_path / "coco", 2, 1),
        tmp_path / "kitti",
        "kitti",
        "--map",
        "bus=car,traffic light=",
        "--link",
        "symbolic",
    )
    said = capsys.readouterr().out
    assert "frames: train 2, val 1; 3 objects, 2 regions to ignore; classes: car, zebra" in said
    assert "car as Car" in said
    assert [item.name for item in open_source(root).annotations("000000000100")] == ["Car", DONT_CARE]
    image = root / "training/image_2/000000000101.jpg"
    assert image.is_symlink() and cv2.imread(str(image)) is not None


def test_a_class_mapped_to_dontcare_is_a_region(tmp_path: Path) -> None:
    root = there(roboflow(tmp_path / "yolo", 1, 1), tmp_path / "coco", "coco", "--map", "bus=DontCare")
    (items,) = content(root)["train"].values()
    assert [(item.name, item.ignore) for item in items] == [(DONT_CARE, True), ("traffic light", False)]


def test_names_of_files_become_fit_for_kitti_and_stay_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "yolo/images" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "yolo/images" / folder / "my photo (1).bmp"), np.zeros((8, 8, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "yolo/images" / folder / "my photo_1.JPG"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "yolo/data.yaml").write_text("train: [images/a, images/b]\nnames: [bus]\n")
    (tmp_path / "yolo/labels/a").mkdir(parents=True)
    (tmp_path / "yolo/labels/a/my photo_1.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    root = there(tmp_path / "yolo", tmp_path / "kitti", "kitti", "--link", "hard")
    assert list(content(root)["train"]) == ["a_my_photo_1_", "a_my_photo_1", "b_my_photo_1_", "b_my_photo_1"]
    assert sorted(path.suffix for path in (root / "training/image_2").iterdir()) == [".jpg", ".jpg", ".png", ".png"]
    jpg = "images/a/my photo_1.JPG"
    assert os.stat(root / "training/image_2/a_my_photo_1.jpg").st_ino == os.stat(tmp_path / "yolo" / jpg).st_ino


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["{source}", "{full}", "--to", "kitti"], "there is something already"),
        (
            ["{source}", "{new}", "--to", "kitti", "--map", "buss=car"],
            "no class is called 'buss'; there are bus, traff",
        ),
        (["{source}", "{new}", "--to", "kitti", "--map", "bus"], "expected old=new"),
        (["{source}", "{new}", "--to", "bdd100k"], "invalid choice"),
        (["{source}", "{new}", "--to", "yolo", "--from", "yolo"], "data.yaml: no such file"),
        (["{new}", "{new}", "--to", "kitti"], "no such folder"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], found: str
) -> None:
    places = {"source": str(coco(tmp_path / "coco", 1, 1)), "full": str(tmp_path), "new": str(tmp_path / "new")}
    before = sorted(tmp_path.rglob("*"))
    try:
        status = convert.main([word.format(**places) for word in words])
    except SystemExit as ended:  # argparse's way
        status = ended.code  # type: ignore[assignment]
    said = capsys.readouterr().err
    assert status == 2 and said.count("\n") == 1 and found in said
    assert sorted(tmp_path.rglob("*")) == before


def test_scenes_are_drawn_in_every_format(tmp_path: Path) -> None:
    scenes = {}
    for kind in WRITTEN:
        words = [str(tmp_path / kind), "--frames", "1", "--val-share", "0", "--workers", "1", "--format", kind]
        assert draw_scenes(words) == 0
        scenes[kind] = content(tmp_path / kind)
        assert open_source(tmp_path / kind).kind == kind
    assert scenes["kitti"] == scenes["yolo"] == scenes["coco"]
    assert list(scenes["kitti"]) == ["train"] and scenes["kitti"]["train"]["000000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(WRITTEN)
