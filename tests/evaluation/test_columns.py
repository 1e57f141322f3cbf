from __future__ import annotations

from pathlib import Path

import pytest

from data.annotation import Annotation
from data.formats.kitti import Label, LabelError
from detector.evaluation.columns import Columns, ResultError, from_labels
from detector.evaluation.kitti_files import frames_of, read_folder

CAR = "Car -1 -1 -10 10 20 60.5 70.25 -1 -1 -1 -1000 -1000 -1000 -10 0.75"


def rows_of(columns: Columns) -> list[tuple]:
    boxes = [tuple(box) for box in columns.boxes.tolist()]
    names = [columns.names[code] for code in columns.name]
    extra = (columns.truncation.tolist(), columns.occlusion.tolist(), columns.scores.tolist())
    return list(zip(columns.frame.tolist(), names, boxes, *extra, strict=True))


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name.removeprefix('f')}.txt").write_bytes(text.encode())
    return tmp_path


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
        (CAR.replace("Car", "Space/ship"), ["Space/ship"]),
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
    for score in (None, float("nan"), float("inf")):
        with pytest.raises(ResultError, match=r"frame 7: the score .* is (None|nan|inf)"):
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


def test_columns_know_their_names_and_what_is_a_region():
    truth = [
        Annotation("bus", (0, 0, 1, 1)),
        Annotation("bus", (2, 2, 3, 3), ignore=True),
        Label("DontCare", (4, 4, 5, 5)),
    ]
    columns = from_labels({"7": truth}, ["7"], scored=False)
    assert columns.names == ("bus", "DontCare")
    assert columns.named("bus", "DontCare").tolist() == [True, False, False]
    assert columns.regions("bus", ("bus", "tram")).tolist() == [False, True, True]
    assert columns.regions("tram", ("bus", "tram")).tolist() == [False, False, True]  # of no class: of every class
    objects = columns.of(("tram", "bus"))
    assert (objects.names, objects.name.tolist(), objects.boxes.tolist()) == (("tram", "bus"), [1], [[0, 0, 1, 1]])
