"""data.download against servers that answer nonsense, or so slowly that it would never end."""

from __future__ import annotations

import io
import socket
import zipfile
from pathlib import Path

import pytest

from data import transfer
from data.download import Archive, download
from data.transfer import DownloadError, fetch
from tests.faults.servers import IMPATIENT, drip, headers, serving


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IMPATIENT.items():
        monkeypatch.setattr(transfer, name, value)


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
