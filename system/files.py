"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has another way, and no one to try it
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_PART = re.compile(r"\..+\.\d+\.(part|tmp)")  # .tmp: of version 0.1


@contextmanager
def replacing(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`: moved there when the block ends well, removed when it does not.

    `durable` waits until the disk has it, so that it outlives a power cut as well.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            _sync(path.parent)  # the rename itself
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """This process alone in `folder`; a second one is refused. The lock dies with its process, however that ends."""
    if fcntl is None:
        yield
        return
    with open(folder / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(20).strip() or "another process"
            raise OSError(f"{folder}: in use by process {owner}; wait for it, or give another folder") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        remove_parts(folder)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """What `replacing` left behind in processes that were killed. Only for who is alone in the folder."""
    for path in folder.iterdir():
        if _PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """A file; into a device or pipe (/dev/stdout) as it comes, as those must not be replaced."""
    path = Path(path)
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """As `write_bytes`, in UTF-8; line ends stay as they are."""
    write_bytes(path, text.encode())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
