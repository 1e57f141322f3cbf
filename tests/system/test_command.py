"""What a command says when something is wrong, and what it leaves as its exit status."""

from __future__ import annotations

import argparse
import logging
import sys

import pytest

from system import command
from system.command import LONGEST, Failure, Parser, count, door, exit_status, fraction, names

NO_ROOM = "not enough memory for that; close other programs, or give smaller sizes and batches"


def failing(error: BaseException) -> int:
    def work() -> None:
        raise error

    return exit_status(work)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("a.yaml: wrong\nin two lines"), 2, "error: a.yaml: wrong in two lines\n"),
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), 2, "error: a.yaml: No such file or directory\n"),
        (OSError("the disk is full"), 2, "error: the disk is full\n"),
        (Failure("steps are not finite"), 1, "error: steps are not finite\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            ValueError("a\x1b[31m\u202e\udcff.png: Bücher auf 車"),
            2,
            "error: a\\x1b[31m\\u202e\\udcff.png: Bücher auf 車\n",
        ),
        (MemoryError(), 2, f"error: {NO_ROOM}\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 2, f"error: {NO_ROOM}\n"),
    ],
)
def test_a_fault_takes_one_line(error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture) -> None:
    assert failing(error) == status
    assert capsys.readouterr().err == said


def test_a_bug_is_a_traceback_and_success_is_0() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        failing(RuntimeError("a bug"))
    assert (exit_status(lambda: None), exit_status(lambda: 1)) == (0, 1)


def test_a_wrong_word_takes_one_line(capsys: pytest.CaptureFixture) -> None:
    parser = Parser(prog="mine.py")
    parser.add_argument("--conf", type=fraction)
    parser.add_argument("--batch", type=count)
    parser.add_argument("--only", type=names)
    for words, part in ((["--conf", "2"], "2 is not between 0 and 1"), (["--batch", "0"], "0 is not 1 or more")):
        with pytest.raises(SystemExit) as caught:
            parser.parse_args(words)
        said = capsys.readouterr().err
        assert caught.value.code == 2 and part in said and said.count("\n") == 1 and "mine.py --help" in said
    expected = argparse.Namespace(conf=0.5, batch=3, only=("Car", "Tram"))
    assert parser.parse_args(["--conf", ".5", "--batch", "3", "--only", "Car, Tram,"]) == expected


def test_a_door_is_called_as_the_person_called_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "configs/kitti.yaml"])
    assert door("train") == "python train.py"
    monkeypatch.setattr(sys, "argv", ["/home/me/bin/kitti-evaluate"])  # pip install -e leaves a checkout
    assert door("train") == "kitti-train"
    monkeypatch.setattr(sys, "argv", ["my_program.py"])
    monkeypatch.setattr(command, "IS_INSTALLED", True)
    assert door("train") == "kitti-train"


def test_a_message_is_never_long(capsys: pytest.CaptureFixture) -> None:
    failing(ValueError("first " + "x" * 10**6 + " last"))
    said = capsys.readouterr().err
    assert len(said) < LONGEST + 20 and said.startswith("error: first xx") and said.endswith("xx last\n")


def test_a_warning_names_a_file_as_a_message_does(capsys: pytest.CaptureFixture) -> None:
    handler = logging.lastResort
    assert handler is not None
    exit_status(lambda: handler.emit(logging.makeLogRecord({"msg": "%s: odd", "args": ("a\x1b[31m.png",)})))
    assert capsys.readouterr().err == "a\\x1b[31m.png: odd\n"


def test_a_terminal_gets_a_long_warning_folded(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, said = logging.lastResort, "split 'train': " + "Person_sitting (4), " * 9 + "Tram (1)"
    assert handler is not None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    exit_status(lambda: handler.emit(logging.makeLogRecord({"msg": said})))
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80 and " ".join(line.strip() for line in lines) == said
