"""Whole or not at all."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from system.files import locked, replacing, write_bytes, write_text

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("durable", [False, True])
def test_a_fault_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path, durable) as partial:
        partial.write_text("half of the n")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with replacing(path, durable) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_no_part_behind(tmp_path: Path) -> None:
    (tmp_path / f".a.txt.{os.getpid()}.part").symlink_to("/dev/full")  # refuses every byte
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(tmp_path / "a.txt", b"x")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for fails in (True, False):
        with suppress(KeyError), replacing(tmp_path / "made") as part:
            part.mkdir()
            (part / "a.txt").write_text("x")
            assert not (tmp_path / "made").exists()
            if fails:
                raise KeyError
        assert [path.name for path in tmp_path.iterdir()] == ([] if fails else ["made"])


def test_who_is_alone_clears_parts_of_files_and_leaves_folders(tmp_path: Path) -> None:
    """Somebody may convert a data set into a neighbouring folder."""
    (tmp_path / ".a.txt.1.part").write_text("x")
    (tmp_path / ".made.1.part").mkdir()
    with locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", ".made.1.part"}


def test_text_is_utf_8_and_keeps_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ü\r\n\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xbc\r\n\n"


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert got == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.123.part").write_text("of a run that was killed")
    (tmp_path / ".last.pt.123.tmp").write_text("of one of version 0.1")
    (tmp_path / "mine.part").write_text("not ours to remove")
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom system.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    with pytest.raises(OSError, match=rf"in use by process {process.pid}; wait for it"), locked(tmp_path):
        pass
    process.kill()
    process.wait()
    with locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "mine.part"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_workers_that_outlive_a_killed_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom system.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    if os.fork() == 0:\n        print(os.getpid(), flush=True)\n"
        "        time.sleep(60)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.wait()
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_who_waited_for_a_lock_that_was_taken_away_locks_the_new_one(tmp_path: Path, monkeypatch) -> None:
    lock = fcntl.lockf

    def too_late(file, flags) -> None:
        monkeypatch.undo()
        lock(file, flags)
        (tmp_path / ".lock").unlink()  # as the one before does when it leaves

    monkeypatch.setattr(fcntl, "lockf", too_late)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
