from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.kitti import Label, LabelError, read_labels
from detector.evaluation.columns import NAMES, Columns, ResultError, frames_of, from_labels, read_folder
from detector.evaluation.number_text import IrregularText, parse_rows

CAR = "Car -1 -1 -10 10 20 60.5 70.25 -1 -1 -1 -1000 -1000 -1000 -10 0.75"


def rows_of(columns: Columns) -> list[tuple]:
    boxes = [tuple(box) for box in columns.boxes.tolist()]
    names = [NAMES[code] for code in columns.name]
    extra = (columns.truncation.tolist(), columns.occlusion.tolist(), columns.scores.tolist())
    return list(zip(columns.frame.tolist(), names, boxes, *extra, strict=True))


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name.removeprefix('f')}.txt").write_bytes(text.encode())
    return tmp_path


def test_reading_many_files_at_once_gives_what_reading_line_by_line_gives(golden):
    for folder, scored in ((golden.labels, False), (golden.detections, True)):
        frames = frames_of(folder)
        fast = read_folder(folder, frames, scored)
        slow = from_labels({frame: read_labels(folder / f"{frame}.txt") for frame in frames}, frames, scored)
        np.testing.assert_equal(rows_of(fast), rows_of(slow))


decimals = st.from_regex(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})", fullmatch=True)
unusual = st.sampled_from(["1e3", "-2.5E-07", "00012.50", "1" * 25, "-0", "-0.0"])
others = st.one_of(st.floats(allow_nan=False).map(repr), unusual)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(decimals, st.one_of(decimals, others)), min_size=1, max_size=6))
def test_numbers_equal_pythons_float_to_the_last_bit(rows):
    text = "\n".join(f"Car {a}\t{b}\r" for a, b in rows).encode()
    names, values, _ = parse_rows(text, 3)
    assert names.tolist() == [b"Car"] * len(rows)
    expected = np.array([[float(a) for a, _ in rows], [float(b) for _, b in rows]])
    assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize("token", ["1.2.3", "--1", "1-2", "-", ".", "+", "1_0", "0x1", "1,5", "one", "1e", "\x001"])
def test_what_is_no_number_is_never_read_as_one(token):
    with pytest.raises(IrregularText):
        parse_rows(f"Car 1 {token}".encode(), 3)


@pytest.mark.parametrize("text", ["Car 1", "Car 1 2 3", "Car 1\n2 Van 3 4", "Car 1 2 Van 3 4"])
def test_lines_of_another_length_are_never_read(text):
    with pytest.raises(IrregularText):
        parse_rows(text.encode(), 3)


def test_empty_files_blank_lines_and_line_ends_of_every_kind(tmp_path):
    text = {"f0": "", "f1": "\n\n", "f2": f"\r\n{CAR}\r\n\r\n{CAR}", "f3": f"{CAR}\n", "f4": CAR.replace(" ", "  ")}
    folder = folder_with(tmp_path, **text)
    columns = read_folder(folder, frames_of(folder), scored=True)
    assert columns.frame.tolist() == [2, 2, 3, 4]
    assert set(rows_of(columns)[0][1:]) == {"Car", (10.0, 20.0, 60.5, 70.25), -1.0, 0.75}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (CAR.replace("0.75", "nan"), ["score", "nan"]),
        (CAR.replace("0.75", "inf"), ["score", "inf"]),
        (CAR.replace(" 0.75", ""), ["16th", "score"]),
        (CAR.replace("60.5", "wide"), ["x2", "wide"]),
        (CAR.replace("Car", "Spaceship"), ["Spaceship"]),
        (CAR + " 1 2", ["18 fields"]),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, line, words):
    folder = folder_with(tmp_path, f0=f"{CAR}\n", f1=f"{CAR}\n\n{line}\n{CAR}\n")
    with pytest.raises(LabelError) as caught:
        read_folder(folder, frames_of(folder), scored=True)
    for word in (f"{folder / '1.txt'}:3", *words):
        assert word in str(caught.value)


def test_a_score_that_is_no_number_is_refused_in_memory_too():
    for score in (None, float("nan")):
        with pytest.raises(LabelError, match=r"frame 7.*score"):
            from_labels({"7": [Label("Car", (0, 0, 1, 1), score=score)]}, ["7"], scored=True)


def test_a_missing_file_is_an_error_that_names_it_or_counts_as_empty(tmp_path):
    folder = folder_with(tmp_path, f0=CAR, f2=CAR)
    with pytest.raises(ResultError, match=r"1 file is missing \(1\.txt\).*--allow-missing"):
        read_folder(folder, ("0", "1", "2"), scored=True)
    assert read_folder(folder, ("0", "1", "2"), scored=True, allow_missing=True).frame.tolist() == [0, 2]


def test_a_folder_that_is_not_there_or_has_no_labels_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="No such file"):
        frames_of(tmp_path / "nowhere")
    with pytest.raises(ResultError, match=r"no \.txt file"):
        frames_of(tmp_path)


def test_chunks_of_files_are_joined_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("detector.evaluation.columns.CHUNK_BYTES", 160)
    for i in range(7):
        (tmp_path / f"{i}.txt").write_text("\n".join([CAR] * (i % 3)))
    columns = read_folder(tmp_path, frames_of(tmp_path), scored=True)
    assert columns.frame.tolist() == [1, 2, 2, 4, 5, 5]
    assert columns.scores.tolist() == [0.75] * 6
