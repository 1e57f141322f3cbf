"""data.download against servers that answer nonsense, or so slowly that it would never end."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data import transfer
from data.download import Archive, download
from data.transfer import DownloadError, fetch

Answer = Callable[[socket.socket], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The URL of a server that gives every request this answer, byte by byte as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(client,), daemon=True).start()

        def one(client: socket.socket) -> None:
            with client:
                try:
                    client.recv(65536)
                    answer(client)
                except OSError:
                    pass  # it has gone away, as it should

        threading.Thread(target=work, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/labels.zip"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(transfer, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "TRIES", 2)


def headers(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("HTTP/1.1 200 OK", "Content-Length: \u00b2"), "does not say how long"),
        (("HTTP/1.1 200 OK", f"Content-Length: {'9' * 5000}"), "does not say how long"),
        (("HTTP/1.1 200 OK", "Content-Length: -1"), "does not say how long"),
        (("HTTP/1.1 200 OK", f"Content-Length: {'9' * 18}"), "GB are needed"),
        (("HTTP/1.1 302 Found", "Location: http://[::1"), "check --url"),
        (("HTTP/1.1 302 Found", "Location: file:///etc/passwd"), "check --url"),
        (("HTTP/1.1 302 Found", "Location: /labels.zip"), "check --url"),
        (("HTTP/1.1 999999999999 \x1b[31m",), "no proper answer"),
        (("\x00\xff" * 99,), "no proper answer"),
        (("HTTP/1.1 200 OK", *["X: y"] * 300), "no proper answer"),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_line(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with serving(lambda client: client.sendall(headers(*lines))) as url, pytest.raises(DownloadError) as caught:
        fetch(url, tmp_path / "labels.zip")
    assert (said in str(caught.value) and url in str(caught.value)) or str(tmp_path) in str(caught.value)
    assert not (tmp_path / "labels.zip").exists()


def drip(client: socket.socket, content: bytes) -> None:
    for k in range(len(content)):
        client.sendall(content[k : k + 1])
        time.sleep(0.05)


def test_a_byte_now_and_then_is_a_broken_line(tmp_path: Path) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(headers("HTTP/1.1 200 OK", "Content-Length: 10000", 'ETag: "a"'))
        drip(client, bytes(10_000))

    with serving(answer) as url, pytest.raises(DownloadError, match=r"only \d+ bytes came in .* gave up after 2 tries"):
        fetch(url, tmp_path / "labels.zip")


def test_so_is_a_header_that_never_ends(tmp_path: Path) -> None:
    def answer(client: socket.socket) -> None:
        drip(client, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000)

    with serving(answer) as url, pytest.raises(DownloadError, match="no proper answer"):
        fetch(url, tmp_path / "labels.zip")


@pytest.mark.parametrize(
    "state",
    ["[" * 100_000, '{"size": Infinity, "validator": "a"}', '{"size": 9, "validator": "\\u0007\\n"}', "[]", "\udcff"],
)
def test_a_damaged_note_beside_the_part_starts_the_transfer_again(tmp_path: Path, state: str) -> None:
    content = b"whole"
    (tmp_path / "labels.part").write_bytes(b"wh")
    (tmp_path / "labels.part.json").write_bytes(state.encode(errors="surrogateescape"))
    answer = headers("HTTP/1.1 200 OK", f"Content-Length: {len(content)}") + content
    with serving(lambda client: client.sendall(answer)) as url:
        fetch(url, tmp_path / "labels.zip")
    assert (tmp_path / "labels.zip").read_bytes() == content


def test_only_the_files_of_a_data_set_are_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("training/label_2/000000.txt", "")
        for name in (".git/hooks/x", "setup.py", "training/x.sh", "training/.x/a.txt", "x/training/a.txt"):
            packed.writestr(name, "echo")
    (tmp_path / "labels.zip.unpacking").write_bytes(buffer.getvalue())
    download(tmp_path, (Archive("labels.zip", "training/label_2", 1, 0),), "http://127.0.0.1:9/")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "training/label_2/000000.txt"
    ]
