"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows has another way, and no one to try it
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_PART = re.compile(r"\..+\.\d+\.(part|tmp)")  # .tmp: of version 0.1


@contextmanager
def replacing(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` for a file or a folder: moved there when the block ends well, removed when not.

    `durable` waits until the disk has it, so that it outlives a power cut as well.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path, instead_of=partial.name):
            yield partial
            if durable:
                _sync(partial)
            os.replace(partial, path)
            if durable:
                _sync(path.parent)  # the rename itself
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


@contextmanager
def giving_up(whole: ExitStack) -> Iterator[None]:
    """What a full disk refuses in this block is lost: the file that grows in `whole` is given up, and never appears."""
    try:
        yield
    except OSError as fault:
        with whole:
            raise fault


@contextmanager
def naming(path: str | Path, instead_of: str | None = None) -> Iterator[None]:
    """A full disk is told by the system without a name: in this block it gets that of `path`.

    So does what has `instead_of` in its name: a temporary file or folder, which nobody knows.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno and (fault.filename is None or (instead_of and instead_of in str(fault.filename))):
            raise OSError(fault.errno, fault.strerror, str(path)) from fault  # PyAV's take no other name
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """This process alone in `folder`; a second one is refused. The lock dies with its process, however that ends.

    lockf, not flock: workers that outlive a killed process by some seconds do not hold it.
    """
    if fcntl is None:
        yield
        return
    with _lock_file(folder) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        remove_parts(folder.iterdir())
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)


def _lock_file(folder: Path) -> TextIO:
    while True:
        file = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - closing it gives the lock back
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            with file:
                file.seek(0)
                owner = file.read(20).strip() or "another process"
            raise OSError(f"{folder}: in use by process {owner}; wait for it, or give another folder") from None
        except OSError:
            return file  # a file system without locks
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # its owner has just left and removed it


def remove_parts(paths: Iterable[Path]) -> None:
    """Of these, the files that `replacing` left behind in processes that were killed. Only for who is alone there; a
    folder may be another one's, still growing."""
    for path in paths:
        if _PART.fullmatch(path.name) and not path.is_dir():
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
