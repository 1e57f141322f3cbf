"""evaluate.py as a process: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOOR = Path(__file__).parents[2] / "evaluate.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DOOR), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def copy(small, tmp_path) -> tuple[Path, Path]:
    return shutil.copytree(small.labels, tmp_path / "label_2"), shutil.copytree(small.detections, tmp_path / "results")


def assert_one_line_error(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    for word in words:
        assert word in ended.stderr


def test_results_are_scored_with_a_table_and_json(small, tmp_path):
    ended = run("--labels", small.labels, "--detections", small.detections, "--json", tmp_path / "new" / "numbers.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "AP40" in ended.stdout
    numbers = json.loads((tmp_path / "new" / "numbers.json").read_text())
    expected = small.expected["kitti"]["Car"]["hard"]["AP40"]
    assert numbers["kitti"]["Car"]["hard"]["AP40"] == pytest.approx(expected, abs=1e-9)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["numbers.json"]


def test_results_of_other_classes_are_scored(tmp_path):
    line = "traffic%20light 0.00 0 -10 10.00 20.00 60.00 50.00 -1 -1 -1 -1000 -1000 -1000 -10"
    for folder, score in (("label_2", ""), ("results", " 0.9")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(f"{line}{score}\n{line.replace('traffic%20light', 'Car')}{score}\n")
    numbers = json.loads(
        run("--labels", tmp_path / "label_2", "--detections", tmp_path / "results", "--json", "-").stdout
    )
    assert numbers["classes"] == ["Car", "traffic light"]
    assert numbers["coco"]["per_class"]["traffic light"]["AP"] == pytest.approx(1)
    assert list(numbers["kitti"]) == ["Car"]


def test_json_on_standard_output_comes_alone(small):
    ended = run("--labels", small.labels, "--detections", small.detections, "--json", "-")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["images"] == 24


def test_scoring_files_loads_neither_torch_nor_matplotlib_nor_pycocotools(small):
    code = (
        f"import sys; sys.path.insert(0, {str(DOOR.parent)!r}); import evaluate\n"
        f"assert evaluate.main(['--labels', {str(small.labels)!r}, '--detections', {str(small.detections)!r}]) == 0\n"
        "sys.exit(sorted({'torch', 'matplotlib', 'pycocotools', 'cv2', 'pandas'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_missing_result_file_is_named_and_allow_missing_counts_it_as_empty(copy):
    labels, results = copy
    (results / "000005.txt").unlink()
    assert_one_line_error(run("--labels", labels, "--detections", results), "000005.txt", "--allow-missing")
    allowed = run("--labels", labels, "--detections", results, "--allow-missing", "--json", "-")
    (results / "000005.txt").write_text("")
    emptied = run("--labels", labels, "--detections", results, "--json", "-")
    assert json.loads(allowed.stdout) == json.loads(emptied.stdout)


def test_a_nan_score_is_an_error_with_file_and_line(copy):
    labels, results = copy
    path = results / "000002.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, " ".join([*lines[0].split()[:15], "nan"])]))
    assert_one_line_error(run("--labels", labels, "--detections", results), f"{path}:{len(lines) + 1}", "score", "nan")


def test_result_files_without_labels_are_left_out_and_said_so(copy):
    labels, results = copy
    (results / "000099.txt").write_text("")
    ended = run("--labels", labels, "--detections", results)
    assert ended.returncode == 0
    assert "1 result file" in ended.stderr


def test_a_split_list_beside_the_labels_chooses_the_frames(copy, tmp_path):
    labels, results = copy
    training = tmp_path / "root" / "training"
    training.mkdir(parents=True)
    labels = labels.rename(training / "label_2")
    (tmp_path / "root" / "ImageSets").mkdir()
    (tmp_path / "root" / "ImageSets" / "half.txt").write_text("000001\n000003\n")
    ended = run("--labels", labels, "--detections", results, "--split", "half", "--json", "-")
    assert json.loads(ended.stdout)["images"] == 2
    assert_one_line_error(run("--labels", labels, "--detections", results, "--split", "none"), "none")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--labels", "a"],
        ["--weights", "w.pt"],
        ["--weights", "w.pt", "--data", "d", "--labels", "a", "--detections", "b"],
        ["--labels", "a", "--detections", "b", "--save-detections", "c"],
        ["--weights", "w.pt", "--data", "d", "--split", "test"],
        ["--weights", "w.pt", "--data", "d", "--conf", "2"],
        ["--frobnicate"],
        ["--labels", "/nowhere", "--detections", "/nowhere"],
        ["--weights", "w.pt", "--data", "/nowhere"],
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments):
    assert_one_line_error(run(*arguments))


def test_a_broken_pipe_is_no_error(small):
    arguments = [sys.executable, str(DOOR), "--labels", str(small.labels), "--detections", str(small.detections)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_interrupt_ends_with_130():
    code = (
        f"import sys, os, signal; sys.path.insert(0, {str(DOOR.parent)!r}); import evaluate\n"
        "evaluate.score_results = lambda *a: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(evaluate.main(['--labels', 'a', '--detections', 'b']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
