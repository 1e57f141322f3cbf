"""One file over HTTP, however often the line breaks.

`fetch(url, target)` writes to a `.part` file and renames it when every announced byte is there, so a file under its
final name is complete. Beside the part stands a `.part.json` with the size and the validator (ETag or
Last-Modified) of the file it belongs to: a resumed transfer sends both `Range` and `If-Range`, and starts again when
the server's file has changed.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from system.command import visible
from system.files import write_text

TIMEOUT = 30.0  # seconds without LEAST bytes until the line counts as broken
LEAST = 1000
CHUNK = 1 << 20
TRIES = 8  # in a row without LEAST new bytes
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between tries; doubles each time
PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


T = TypeVar("T")


class DownloadError(OSError):
    """What the user can mend; the message is one line and says how."""


class _Lost(Exception):
    """The transfer broke; another try may help."""


class _Unreachable(_Lost):
    """There was no answer at all."""


def fetch(url: str, target: Path, headroom: int = 0) -> None:
    """Bring `url` to `target`, going on from what an earlier call left; `headroom` bytes must stay free on the disk."""
    part, name = target.with_suffix(".part"), url.rsplit("/", 1)[-1]
    answered, failures, furthest = False, 0, 0
    with tqdm(unit="B", unit_scale=True, desc=name, disable=None) as bar:
        while True:
            try:
                _transfer(url, part, headroom, bar)
                break
            except _Lost as lost:
                answered = answered or not isinstance(lost, _Unreachable)
                if not answered:
                    raise DownloadError(f"{url}: {lost}; check the connection, the proxy and --url") from lost
                # Only more bytes than ever before count as progress, or a server that always starts again had no end.
                have = part.stat().st_size if part.exists() else 0
                failures = 1 if have >= furthest + LEAST else failures + 1
                furthest = max(furthest, have)
                if failures >= TRIES:
                    raise DownloadError(
                        f"{url}: {lost}; gave up after {TRIES} tries without progress. "
                        "What came is kept: run the same command later to go on"
                    ) from lost
                pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
                tqdm.write(visible(f"{name}: {lost}; next try in {pause:.0f} s"), file=sys.stderr)
                time.sleep(pause)
    os.replace(part, target)
    _state_file(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path, headroom: int, bar: tqdm) -> None:
    """One connection: the bytes of `url` from where `part` ends. Returns when `part` is complete, else raises."""
    have, size, validator = _resume_point(part)
    if validator and have == size:
        return
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    with _open(urllib.request.Request(url, headers=headers), part) as response:
        if response.status == 206:
            start, size = _content_range(response)
            # Some servers know Range but not If-Range, hence the second look at the validator.
            if start != have or _validator(response) != validator:
                _discard(part)
                raise _Lost("the file on the server has changed, starting again")
        else:
            have, size, validator = 0, _content_length(response, url), _validator(response)
            _discard(part)
            if validator:
                _write_state(part, size, validator)
        check_space(part.parent, size - have + headroom)
        bar.reset(size)
        bar.initial = bar.n = have
        with part.open("ab") as file:
            mark, had = time.monotonic(), have
            while chunk := _read(response):
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
                if time.monotonic() - mark > TIMEOUT:
                    if have - had < LEAST:
                        raise _Lost(f"only {have - had} bytes came in {TIMEOUT:.0f} s")
                    mark, had = time.monotonic(), have
            file.flush()
            os.fsync(file.fileno())
    if have > size:
        _discard(part)
        raise _Lost(f"the server sent {have:,} bytes and had announced {size:,}, starting again")
    if have < size:
        raise _Lost(f"the connection broke at {have:,} of {size:,} bytes")


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = within(
            2 * TIMEOUT, lambda: urllib.request.urlopen(request, timeout=TIMEOUT)
        )
        return response
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        error.close()
        if error.code == 416:  # the part is longer than the file: not the same file
            _discard(part)
            raise _Lost(answer + ", starting again") from error
        if error.code in PASSING_STATUS:
            raise _Lost(answer) from error
        raise DownloadError(f"{request.full_url}: {answer}; check --url") from error
    except urllib.error.URLError as error:
        raise _Unreachable(f"the host cannot be reached ({error.reason})") from error
    except (http.client.InvalidURL, ValueError) as error:  # also where a redirect leads
        raise DownloadError(f"{request.full_url}: {error}; check --url") from error
    except (OSError, OverflowError, http.client.HTTPException) as error:  # Overflow: of a length that is none
        raise _Lost(f"no proper answer ({error or type(error).__name__})") from error


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` gives, or TimeoutError: a socket's own timeout begins anew with every byte of a header."""
    done: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()

    def run() -> None:
        future: Future[T] = Future()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        done.put(future)

    threading.Thread(target=run, daemon=True).start()  # left behind when it is late
    try:
        return done.get(timeout=seconds).result()
    except queue.Empty:
        raise TimeoutError(f"none in {seconds:.0f} s") from None


def _read(response: http.client.HTTPResponse) -> bytes:
    """Network errors become _Lost here, so that an OSError from writing to the disk is never taken for one."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(f"the connection broke ({error or type(error).__name__})") from error


def _content_length(response: http.client.HTTPResponse, url: str) -> int:
    length = response.headers.get("Content-Length", "")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise DownloadError(f"{url}: the server does not say how long the file is; use another --url")
    return int(length)


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """(first byte, size of the whole file) of a 206 answer; (-1, 0) when it does not say."""
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})", response.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2])) if found else (-1, 0)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What names this very version of the file. A weak ETag does not: it may stay the same when bytes change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _resume_point(part: Path) -> tuple[int, int, str | None]:
    """(bytes on disk, size, validator); zeros and None when nothing usable is there."""
    try:
        state = json.loads(_state_file(part).read_text())
        have, size, validator = part.stat().st_size, int(state["size"]), str(state["validator"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return 0, 0, None
    usable = have <= size and validator.isascii() and validator.isprintable()  # it becomes a line of a request
    return (have, size, validator) if usable else (0, 0, None)


def _write_state(part: Path, size: int, validator: str) -> None:
    write_text(_state_file(part), json.dumps({"size": size, "validator": validator}))


def _discard(part: Path) -> None:
    _state_file(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def check_space(folder: Path, needed: int) -> None:
    """Raise DownloadError unless `needed` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(f"{folder}: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free; make room")
