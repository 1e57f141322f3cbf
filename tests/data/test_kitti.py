from __future__ import annotations

import dataclasses
import math
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_dataset import real_kitti

from data.annotation import Annotation, DatasetError
from data.formats.kitti import (
    CLASSES,
    DONT_CARE,
    LARGEST,
    Label,
    LabelError,
    class_set,
    format_label,
    frames_of_split,
    image_files,
    parse_label,
    read_labels,
    write_labels,
)

LINE = "Car 0.10 1 -1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56"


def test_a_line_is_read_field_by_field() -> None:
    label = parse_label(LINE + " 0.875", "x:1")
    assert label == Label(
        "Car",
        (599.41, 156.40, 629.75, 189.25),
        0.1,
        1,
        -1.57,
        (2.85, 2.63, 12.34),
        (0.47, 1.49, 69.44),
        -1.56,
        score=0.875,
    )
    assert parse_label(LINE, "x:1").score is None


def test_class_names_are_matched_without_case_and_made_canonical() -> None:
    assert parse_label(LINE.replace("Car", "cAR"), "x:1").name == "Car"
    assert parse_label(LINE.replace("Car", "PERSON_SITTING"), "x:1").name == "Person_sitting"
    assert parse_label(LINE.replace("Car", "dontcare"), "x:1").name == DONT_CARE


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (LINE.replace("Car", "a/b"), "'a/b' cannot be a class name; expected"),
        (LINE.replace("Car", "C" * 65), "cannot be a class name; expected"),
        (LINE.rsplit(" ", 1)[0], "found 14 fields, expected 15 (label) or 16"),
        (LINE + " 0.5 7", "found 17 fields"),
        (LINE.replace("599.41", "nan"), "x1 is 'nan', expected a finite number"),
        (LINE.replace("189.25", "-inf"), "y2 is '-inf', expected a finite number"),
        (LINE.replace("69.44", "1e999"), "z is '1e999', expected a finite number"),
        (LINE + " nan", "score is 'nan', expected a finite number"),
        (LINE.replace("12.34", "12,34"), "length is '12,34', expected a finite number"),
        (LINE.replace("12.34", "1_2"), "length is '1_2', expected a finite number"),
        (LINE.replace(" 1 ", " 0.5 ", 1), "occlusion is '0.5', expected a whole number"),
    ],
)
def test_an_error_names_file_line_what_was_found_and_what_was_expected(line: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "000007.txt"
    path.write_text(f"{LINE}\n\n{line}\n")
    with pytest.raises(LabelError) as error:
        read_labels(path)
    assert str(error.value).startswith(f"{path}:3: ")
    assert found in str(error.value)
    assert "\n" not in str(error.value)


def test_windows_line_ends_blank_lines_double_blanks_and_a_missing_last_newline_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{LINE}\r\n\r\n  \t\n{LINE.replace(' ', '  ')}\r\n{LINE}".encode())
    assert read_labels(path) == [parse_label(LINE, "")] * 3
    path.write_bytes(b"")
    assert read_labels(path) == []


def test_writing_gives_kitti_text_and_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_labels(path, [parse_label(LINE, ""), Label("Van", (1, 2, 3.125, 4), score=0.5)])
    assert path.read_text() == f"{LINE}\nVan -1 -1 -10 1.00 2.00 3.125 4.00 -1 -1 -1 -1000 -1000 -1000 -10 0.5\n"
    write_labels(path, [])
    assert path.read_text() == ""
    assert list(tmp_path.iterdir()) == [path]


finite = st.floats(-LARGEST, LARGEST)
labels = st.builds(
    Label,
    name=st.sampled_from([*CLASSES, DONT_CARE, "bus", "traffic light", "50%", "100%20", "vélo", "7"]),
    box=st.tuples(*[finite] * 4),
    truncation=finite,
    occlusion=st.integers(-1, 3),
    alpha=finite,
    dimensions=st.tuples(*[finite] * 3),
    location=st.tuples(*[finite] * 3),
    rotation_y=finite,
    score=st.none() | finite,
)


@given(labels)
@example(Label("Car", (-0.0, 0.0, 1e-300, LARGEST), score=-1e-5))
def test_any_label_is_read_back_as_it_was(label: Label) -> None:
    assert parse_label(format_label(label), "") == label


junk_lines = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([LINE.encode(), b"", b" ", b"\t", LINE.encode() + b" 1", LINE.encode() + b"\x00"]),
    st.lists(
        st.sampled_from(
            [
                "Car",
                "DontCare",
                "-1",
                "0",
                "nan",
                "inf",
                "-inf",
                "1e999",
                "1e308",
                "0x1F",
                "1_0",
                "٣",
                "Ⅷ",
                "712.40",
                ".",
                "-",
                "+",
                "\x85",
            ]
        ),
        max_size=18,
    ).map(lambda fields: " ".join(fields).encode()),
    st.lists(finite.map(repr), min_size=14, max_size=15).map(lambda numbers: ("Car " + " ".join(numbers)).encode()),
)


@given(st.lists(junk_lines, max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_is_labels_or_a_clear_error(tmp_path: Path, lines: list[bytes], end: bytes, newline: bool) -> None:
    path = tmp_path / "fuzz.txt"
    path.write_bytes(end.join(lines) + end * newline)
    try:
        parsed = read_labels(path)
    except LabelError as error:
        message = str(error)
        assert message.startswith(f"{path}:")
        assert int(message[len(str(path)) + 1 :].split(":")[0]) >= 1
        assert "expected" in message
        assert "\n" not in message
    else:
        for label in parsed:
            assert label.name == label.name.strip() and label.name.isprintable()
            assert all(map(math.isfinite, (*label.box, *label.dimensions, *label.location, label.score or 0)))


def test_every_real_label_file_is_written_back_equal(tmp_path: Path) -> None:
    path, files, objects = tmp_path / "label.txt", 0, 0
    with tarfile.open(real_kitti() / "label_2_all.tar.gz") as archive:
        for member in archive:
            if not member.isfile():
                continue
            file = archive.extractfile(member)
            assert file is not None
            text = file.read().decode()
            before = [parse_label(line, member.name) for line in text.splitlines()]
            written = "".join(format_label(label) + "\n" for label in before)
            after = [parse_label(line, member.name) for line in written.splitlines()]
            assert [dataclasses.astuple(label) for label in after] == [dataclasses.astuple(label) for label in before]
            assert written == text
            if files % 50 == 0:
                write_labels(path, before)
                assert path.read_text() == text
                assert read_labels(path) == before
            files, objects = files + 1, objects + len(before)
    assert (files, objects) == (7481, 51865)


def test_dont_care_is_a_region_to_ignore_by_its_name_alone() -> None:
    assert parse_label(LINE.replace("Car", "dontcare"), "").ignore
    assert Label(DONT_CARE, (0, 0, 1, 1)).ignore
    assert not Label("Car", (0, 0, 1, 1)).ignore


def test_a_label_is_an_annotation_with_3d_fields() -> None:
    label = parse_label(LINE, "")
    assert isinstance(label, Annotation)
    assert Label("Car", (1, 2, 3, 4), 0.1, 1, -1.57, (1, 2, 3), (4, 5, 6), 0.5).rotation_y == 0.5


@pytest.mark.parametrize(("suffixes", "taken"), [((".jpeg", ".jpg"), ".jpg"), ((".jpg", ".png"), ".png")])
def test_of_two_images_for_one_frame_one_is_taken(tmp_path: Path, suffixes: tuple[str, ...], taken: str) -> None:
    for suffix in suffixes:
        (tmp_path / f"000000{suffix}").touch()
    (tmp_path / "000000.bmp").touch()
    assert image_files(tmp_path) == {"000000": tmp_path / f"000000{taken}"}


def test_a_list_of_the_user_wins_over_the_built_in_one_and_all_is_everything(tmp_path: Path) -> None:
    assert frames_of_split(tmp_path, "all", ["b", "a"]) == ("a", "b")
    assert frames_of_split(tmp_path, "val", [])[:2] == ("000001", "000002")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/val.txt").write_text("7\n3\n7\n")
    (tmp_path / "ImageSets/all.txt").write_text("5")
    assert frames_of_split(tmp_path, "val", []) == ("7", "3")
    assert frames_of_split(tmp_path, "all", ["a"]) == ("5",)
    with pytest.raises(DatasetError, match=r"split 'mine': expected train, val, all, or a list .*ImageSets/mine\.txt"):
        frames_of_split(tmp_path, "mine", [])


def test_class_sets() -> None:
    eight = class_set("kitti8")
    assert eight.names == CLASSES
    assert eight.ignored == {DONT_CARE}
    three = class_set("kitti3")
    assert three.names == ("Car", "Pedestrian", "Cyclist")
    assert [three.index(name) for name in ("Car", "Cyclist", "Van", "Person_sitting", DONT_CARE)] == [0, 2, -1, -1, -1]
    assert three.index("Truck") is None
    assert three.index("Tram") is None


def test_a_neighbour_is_ignored_only_where_its_pair_is_in_the_set_and_it_is_not() -> None:
    assert class_set(["van", "CAR"]).names == ("Van", "Car")
    assert class_set(["van", "CAR"]).ignored == {DONT_CARE}
    assert class_set("Van,Tram").ignored == {DONT_CARE, "Car"}
    assert class_set(["Person_sitting"]).index("Pedestrian") == -1
    assert class_set(["Cyclist"]).index("Pedestrian") is None


def test_own_class_names_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(LINE.replace("Car", "bus") + "\n" + LINE.replace("Car", "traffic%20light") + "\n")
    assert [label.name for label in read_labels(path)] == ["bus", "traffic light"]
    assert class_set(["bus", "car", "traffic light"]).names == ("bus", "Car", "traffic light")
    assert class_set("bus,traffic light").names == ("bus", "traffic light")
    assert class_set("bus").ignored == {DONT_CARE}
    assert class_set("bus,Car").neighbours == {"Van"}


@pytest.mark.parametrize("spec", ["kitti9", "Car,a/b", "DontCare", "", "Car,car", []])
def test_a_class_set_that_cannot_be_is_an_error(spec: str | list[str]) -> None:
    with pytest.raises(ValueError, match="classes:"):
        class_set(spec)
