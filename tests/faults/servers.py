"""Servers that lie, break and drip, and downloads that meet them."""

from __future__ import annotations

import io
import random
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from data import transfer as client_side
from data.download import Archive, download
from tests.faults.damage import outcome

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


def headers(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def drip(client: socket.socket, content: bytes) -> None:
    for k in range(len(content)):
        client.sendall(content[k : k + 1])
        time.sleep(0.05)


IMPATIENT = {"FIRST_PAUSE": 0.001, "LONGEST_PAUSE": 0.002, "TIMEOUT": 0.2, "TRIES": 2}
CODES = (200, 200, 200, 206, 206, 301, 302, 304, 404, 416, 500, 503, 999)
LIES = ("", "-1", "0", "7", "\u00b2", "9" * 30, "x")


def transfer(rng: random.Random, folder: Path) -> str:
    """Some answers of such a server; then an honest one, and the same command brings every file."""
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for k in range(5):
            packed.writestr(f"training/label_2/{k:06d}.txt", rng.randbytes(900))
    content, wanted = buffer.getvalue(), (Archive("labels.zip", "training/label_2", 5, 0),)
    silent = redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO())
    with silent[0], silent[1], mock.patch.multiple(client_side, **IMPATIENT):
        with serving(lambda client: client.sendall(bad_answer(content, rng))) as url:
            result = outcome(lambda: download(root, wanted, url.rpartition("/")[0]), "labels.zip")
        with serving(lambda client: client.sendall(honest(content))) as url:
            outcome(lambda: download(root, wanted, url.rpartition("/")[0]), "labels.zip")  # damage that lay there goes
            download(root, wanted, url.rpartition("/")[0])
    with zipfile.ZipFile(buffer) as packed:
        for name in packed.namelist():
            assert (root / name).read_bytes() == packed.read(name), name
    return result


def honest(content: bytes) -> bytes:
    return headers("HTTP/1.1 200 OK", f"Content-Length: {len(content)}", 'ETag: "good"') + content


def bad_answer(content: bytes, rng: random.Random) -> bytes:
    """A status, lengths and ranges that are wrong as like as not, and a part of the content; one in four is honest."""
    if rng.random() < 0.25:
        return honest(content)
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    length = rng.choice((str(len(content)), str(end), *LIES))
    lines = [f"HTTP/1.1 {rng.choice(CODES)} X", f"Content-Length: {length}", f'ETag: "{rng.choice("ab")}"']
    lines.append(f"Content-Range: bytes {rng.choice((start, 0, -1))}-{rng.choice((end, 10**20))}/{length}")
    lines.append("Location: /labels.zip")
    lines = [line for line in lines if rng.random() < 0.8]
    return headers(*lines) + content[rng.choice((0, start)) : end]
