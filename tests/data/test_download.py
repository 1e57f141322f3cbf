"""data.download against a real HTTP server that behaves as badly as servers do."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data import download, transfer

LABELS, IMAGES = "data_object_label_2.zip", "data_object_image_2.zip"
FRAMES = 12
BYTES = random.Random(3)
LABEL_FILES = {f"training/label_2/{i:06}.txt": b"Car 0 0 0 1 2 30 40 1 1 1 1 1 1 0\n" * i for i in range(FRAMES)}
IMAGE_FILES = {
    f"{part}/image_2/{i:06}.png": BYTES.randbytes(20_000 + 100 * i)
    for part in ("testing", "training")
    for i in range(FRAMES)
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Mirror(ThreadingHTTPServer):
    """Serves `files` with Range and If-Range; each request takes one of `faults`, then `always`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {LABELS: zipped(LABEL_FILES), IMAGES: zipped(IMAGE_FILES)}
        self.etag = '"one"'
        self.faults: list[dict[str, object]] = []
        self.always: dict[str, object] = {}
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        mirror = self.server
        name = self.path.lstrip("/")
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        mirror.requests.append((name, asked, condition))
        fault = mirror.faults.pop(0) if mirror.faults else mirror.always
        if fault.get("hang_up") or "status" in fault or name not in mirror.files:
            if not fault.get("hang_up"):
                self.send_error(int(fault.get("status", 404)))  # type: ignore[call-overload]
            return
        body = mirror.files[name]
        start = 0
        if asked and not fault.get("ignore_range") and (condition == mirror.etag or fault.get("ignore_if_range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + int(fault.get('shift', 0))}-{len(body) - 1}/{len(body)}")
        if not fault.get("no_length"):
            self.send_header("Content-Length", str(len(body) - start + int(fault.get("length_off_by", 0))))
        if not fault.get("no_validator"):
            self.send_header("ETag", mirror.etag)
        self.end_headers()
        piece = body[start : start + int(fault.get("drop_after", len(body)))]
        mirror.sent += len(piece)
        self.wfile.write(piece)
        self.wfile.flush()
        if "stall" in fault:
            time.sleep(float(fault["stall"]))  # type: ignore[arg-type]


@pytest.fixture
def mirror():
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick_and_small(monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(transfer, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(download, "LABELS", download.Archive(LABELS, "training/label_2", FRAMES, headroom=0))
    monkeypatch.setattr(download, "IMAGES", download.Archive(IMAGES, "training/image_2", FRAMES, headroom=0))
    monkeypatch.setattr(download, "BATCH", 100_000)
    monkeypatch.setattr(os, "sync", lambda: None)  # a busy machine would wait for everybody's files


def files_under(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def complaint(capsys) -> str:
    """The last line on standard error; progress bars and retry notes stand before it."""
    lines = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert "Traceback" not in "\n".join(lines)
    return lines[-1]


def test_everything_arrives_and_nothing_else_stays(mirror, tmp_path, capsys):
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    assert files_under(tmp_path) == LABEL_FILES | IMAGE_FILES
    out = capsys.readouterr().out
    assert "CC BY-NC-SA 3.0" in out
    assert "non-commercial" in out


def test_what_is_there_is_not_fetched_again(mirror, tmp_path):
    arguments = [str(tmp_path), "--url", mirror.url]
    download.main(arguments)
    mirror.requests.clear()
    assert download.main(arguments) == 0
    assert mirror.requests == []


def test_labels_only_asks_for_no_images(mirror, tmp_path):
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url.rstrip("/")]) == 0
    assert [name for name, *_ in mirror.requests] == [LABELS]
    assert files_under(tmp_path) == LABEL_FILES


def test_a_broken_transfer_goes_on_where_it_broke(mirror, tmp_path):
    mirror.faults = [{}, {"drop_after": 100_000}, {"hang_up": True}, {"drop_after": 50_000}]
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    assert mirror.requests[1:] == [
        (IMAGES, None, None),
        (IMAGES, "bytes=100000-", '"one"'),
        (IMAGES, "bytes=100000-", '"one"'),
        (IMAGES, "bytes=150000-", '"one"'),
    ]
    assert mirror.sent == len(mirror.files[LABELS]) + len(mirror.files[IMAGES])
    assert files_under(tmp_path) == LABEL_FILES | IMAGE_FILES


def test_a_server_that_breaks_more_often_than_the_bound_is_fine_while_bytes_come(mirror, tmp_path):
    mirror.always = {"drop_after": len(mirror.files[IMAGES]) // (2 * transfer.TRIES)}
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    assert len(mirror.requests) > transfer.TRIES
    assert files_under(tmp_path) == LABEL_FILES | IMAGE_FILES


def test_a_stalled_connection_is_given_up_and_resumed(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    mirror.faults = [{"drop_after": 100, "stall": 1.0}]
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert mirror.requests[1][1] == "bytes=100-"
    assert files_under(tmp_path) == LABEL_FILES


@pytest.mark.parametrize("answer", [{}, {"ignore_if_range": True}], ids=["honours If-Range", "knows no If-Range"])
def test_a_file_that_changed_on_the_server_is_fetched_from_its_start(mirror, tmp_path, monkeypatch, answer):
    mirror.faults = [{"drop_after": 300}]
    monkeypatch.setattr(transfer, "TRIES", 1)
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    monkeypatch.setattr(transfer, "TRIES", 3)
    new = {name: content + b"Van 0 0 0 1 2 30 40 1 1 1 1 1 1 0\n" for name, content in LABEL_FILES.items()}
    mirror.files[LABELS], mirror.etag, mirror.faults = zipped(new), '"two"', [answer]
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert mirror.requests[1][1:] == ("bytes=300-", '"one"')
    assert files_under(tmp_path) == new


@pytest.mark.parametrize("fault", [{"ignore_range": True}, {"shift": 7}, {"length_off_by": 9}, {"status": 416}])
def test_a_server_that_answers_a_range_wrongly_gives_the_right_file_all_the_same(mirror, tmp_path, fault):
    mirror.faults = [{"drop_after": 300}, fault]
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert files_under(tmp_path) == LABEL_FILES


def test_without_a_validator_a_transfer_starts_again(mirror, tmp_path):
    mirror.faults = [{"drop_after": 300, "no_validator": True}]
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert [asked for _, asked, _ in mirror.requests] == [None, None]
    assert files_under(tmp_path) == LABEL_FILES


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"ignore_range": True, "drop_after": 300}, "connection broke at 300 of"),
        ({"ignore_range": True, "length_off_by": 5}, "connection broke at"),
        ({"status": 503}, "503"),
        ({"hang_up": True}, "no proper answer"),
    ],
    ids=str,
)
def test_tries_without_progress_end_with_one_clear_line(mirror, tmp_path, capsys, fault, says):
    mirror.always = fault
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert transfer.TRIES <= len(mirror.requests) <= transfer.TRIES + 1
    last = complaint(capsys)
    assert mirror.url + LABELS in last
    assert says in last
    assert not (tmp_path / "training").exists()


def test_a_passing_fault_of_the_server_is_waited_out(mirror, tmp_path):
    mirror.faults = [{"status": 503}, {"status": 429}, {"hang_up": True}]
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert files_under(tmp_path) == LABEL_FILES


@pytest.mark.parametrize(
    ("fault", "says"),
    [({"status": 404}, "404"), ({"status": 403}, "403"), ({"no_length": True}, "does not say how long")],
    ids=str,
)
def test_what_more_tries_cannot_mend_is_said_at_once(mirror, tmp_path, capsys, fault, says):
    mirror.always = fault
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert len(mirror.requests) == 1
    last = complaint(capsys)
    assert says in last
    assert "--url" in last


def test_a_host_that_is_not_there_is_said_at_once(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    assert download.main([str(tmp_path), "--url", f"http://127.0.0.1:{port}/"]) == 2
    assert time.monotonic() - start < 20
    assert "cannot be reached" in complaint(capsys)


@pytest.mark.parametrize("url", ["http://host:port/", "http://a b/", "http://"])
def test_a_url_that_is_none_is_said_at_once(tmp_path, capsys, url):
    assert download.main([str(tmp_path), "--url", url]) == 2
    assert "--url" in complaint(capsys)


def flipped(archive: bytes, where: int) -> bytes:
    return archive[:where] + bytes([archive[where] ^ 0xFF]) + archive[where + 1 :]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda good: flipped(good, 40_000), "training/image_2"),
        (lambda good: good[: len(good) // 2], "not a zip"),
        (lambda good: b"<html>please log in</html>", "not a zip"),
        (lambda good: b"", "not a zip"),
    ],
    ids=["flipped byte", "cut in half", "a login page", "empty"],
)
def test_an_archive_that_is_not_whole_unpacks_nothing(mirror, tmp_path, capsys, spoil, says):
    good = mirror.files[IMAGES] = zipped(dict(reversed(IMAGE_FILES.items())))  # the flipped byte hits a training image
    mirror.files[IMAGES] = spoil(good)
    assert download.main([str(tmp_path), "--url", mirror.url]) == 2
    last = complaint(capsys)
    assert "damaged" in last
    assert says in last
    assert files_under(tmp_path) == LABEL_FILES, "neither images nor the archive stay"
    mirror.files[IMAGES] = good
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    assert files_under(tmp_path) == LABEL_FILES | IMAGE_FILES


def test_a_length_that_is_too_small_does_not_pass_for_a_whole_archive(mirror, tmp_path, capsys):
    mirror.always = {"length_off_by": -100}
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert "damaged" in complaint(capsys)
    assert files_under(tmp_path) == {}


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:evil.txt"])
def test_a_member_that_would_land_outside_the_data_set_stops_everything(mirror, tmp_path, capsys, name):
    mirror.files[LABELS] = zipped(LABEL_FILES | {name: b"evil"})
    root = tmp_path / "kitti"
    assert download.main([str(root), "--labels-only", "--url", mirror.url]) == 2
    assert "outside the data set" in complaint(capsys)
    assert files_under(tmp_path) == {}


def test_a_link_in_an_archive_stops_everything(mirror, tmp_path, capsys):
    link = zipfile.ZipInfo("training/label_2/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO(mirror.files[LABELS])
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc")
    mirror.files[LABELS] = buffer.getvalue()
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert "link" in complaint(capsys)
    assert files_under(tmp_path) == {}


def test_an_archive_that_holds_less_than_kitti_is_reported(mirror, tmp_path, capsys):
    mirror.files[LABELS] = zipped(dict(list(LABEL_FILES.items())[:-1]))
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert f"{FRAMES - 1} of {FRAMES} files" in complaint(capsys)


def test_a_disk_without_room_is_said_before_the_transfer(mirror, tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, len(mirror.files[LABELS]) + 999))
    monkeypatch.setattr(download, "LABELS", download.Archive(LABELS, "training/label_2", FRAMES, headroom=1000))
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 2
    assert "GB are needed" in complaint(capsys)
    assert (tmp_path / (LABELS + ".part")).exists() is False


def test_the_data_never_lies_on_the_disk_twice(mirror, tmp_path, monkeypatch):
    archive, largest, write = len(mirror.files[IMAGES]), max(map(len, IMAGE_FILES.values())), download._write
    peak = 0

    def watched(*arguments):
        nonlocal peak
        write(*arguments)
        peak = max(peak, sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))

    monkeypatch.setattr(download, "_write", watched)
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    labels = sum(map(len, LABEL_FILES.values()))
    assert peak <= labels + archive + download.BATCH + largest
    assert labels + archive + download.BATCH + largest < 1.4 * archive, "else this test shows nothing"


def test_an_interrupted_unpacking_goes_on_without_the_server(mirror, tmp_path, monkeypatch, capsys):
    write = download._write
    calls = 0

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == FRAMES + 8:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(download, "_write", interrupted)
    assert download.main([str(tmp_path), "--url", mirror.url]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    left = tmp_path / (IMAGES + ".unpacking")
    assert left.stat().st_size < len(mirror.files[IMAGES])
    assert zipfile.ZipFile(left).testzip() is None
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert 0 < len(there) < len(IMAGE_FILES)

    monkeypatch.setattr(download, "_write", write)
    mirror.requests.clear()
    assert download.main([str(tmp_path), "--url", mirror.url]) == 0
    assert mirror.requests == []
    assert files_under(tmp_path) == LABEL_FILES | IMAGE_FILES
    assert {path: path.stat().st_mtime_ns for path in there} == there, "what was unpacked is not written again"


def test_an_interrupted_program_says_130_and_resumes(mirror, tmp_path):
    """A real process and a real SIGINT in the middle of a transfer."""
    mirror.faults = [{"drop_after": 200, "stall": 30}]
    command = [sys.executable, "-m", "data.download", str(tmp_path), "--labels-only", "--url", mirror.url]
    repository = Path(__file__).parents[2]
    program = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = tmp_path / (LABELS + ".part")
    while not (part.exists() and mirror.sent == 200):
        assert program.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "Traceback" not in err
    assert files_under(tmp_path).keys() == {part.name, part.name + ".json"}
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert mirror.requests[-1][1] == "bytes=200-"
    assert files_under(tmp_path) == LABEL_FILES


def test_an_archive_of_the_users_own_is_left_alone(mirror, tmp_path):
    own = tmp_path / LABELS
    own.write_bytes(b"mine")
    assert download.main([str(tmp_path), "--labels-only", "--url", mirror.url]) == 0
    assert own.read_bytes() == b"mine"


@pytest.mark.parametrize("only", [[], ["--only", "cifar10"]])
def test_two_downloads_do_not_write_into_one_folder(mirror, tmp_path, capsys, only):
    script = "import sys, time\nfrom pathlib import Path\nfrom system.files import locked\n"
    script += "with locked(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    command = [sys.executable, "-c", script, tmp_path]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert other.stdout.readline() == "in\n"
    assert download.main([str(tmp_path), *only, "--url", mirror.url]) == 2
    assert complaint(capsys) == f"error: {tmp_path}: in use by process {other.pid}; wait for it, or give another folder"
    assert mirror.requests == []
    other.kill()
    other.wait()
    if not only:
        assert download.main([str(tmp_path), "--url", mirror.url]) == 0


def test_a_root_that_cannot_be_a_folder_is_said_in_one_line(mirror, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert download.main([str(tmp_path / "file"), "--url", mirror.url]) == 2
    assert str(tmp_path / "file") in complaint(capsys)


def test_only_http_is_accepted(tmp_path, capsys):
    assert download.main([str(tmp_path), "--url", "file:///etc/"]) == 2
    assert "expected http" in complaint(capsys)
