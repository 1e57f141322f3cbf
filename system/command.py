"""One style for every command: how words are read, what a mistake says, what the exit status is.

0 done, 1 some of it failed, 2 the user's input is wrong (one line: what, where, how to mend it), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unicodedata import category

from system.files import write_text
from system.shipped import IS_INSTALLED
from system.version import VERSION

COLUMNS = 80  # of a terminal that nobody has widened
INDENT = "    "
LONGEST = 1000  # characters of a message: what a file or a name brings along may be of any length


class Failure(RuntimeError):
    """The work failed though the input was right; the message says why and what to do. Exit status 1."""


def door(name: str) -> str:
    """What a person types to call a door: `kitti-train` where it is installed as a command, else `python train.py`."""
    is_command = IS_INSTALLED or Path(sys.argv[0]).name.startswith("kitti-")
    return f"kitti-{name}" if is_command else f"python {name}.py"


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes take one line."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog=prog, **settings)
        self.add_argument("--version", action="version", version=f"kitti-attention-detector {VERSION}")

    def error(self, message: str) -> NoReturn:
        _say(f"error: {message}; {self.prog} --help shows what can be given", 2)
        sys.exit(2)


def fraction(text: str) -> float:
    """An argument from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def count(text: str) -> int:
    """An argument that counts something: 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def names(text: str) -> tuple[str, ...]:
    """An argument that lists names: `Car,Cyclist`."""
    return tuple(part for name in text.split(",") if (part := name.strip()))


def tell(report: dict[str, Any], text: str, json_to: str | None) -> None:
    """The text, and the report as JSON where asked for; with "-" the report alone."""
    as_json = json.dumps(report, indent=1, allow_nan=False)
    if json_to == "-":
        print(as_json)
        return
    if json_to:
        Path(json_to).parent.mkdir(parents=True, exist_ok=True)
        write_text(json_to, as_json + "\n")
    print(text)


def visible(text: str) -> str:
    """Text for a terminal, where names of files may hold anything: what would steer it, line ends too, is spelt out."""
    return "".join(c if c.isprintable() or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


def out_of_memory(fault: BaseException) -> bool:
    """Whether memory is what was lacking; torch says so in words alone."""
    named = isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError"
    return named or (isinstance(fault, RuntimeError) and "alloc" in str(fault))


def folded(line: str, begin: str = "") -> str:
    """In as many lines of a terminal as it takes, with no word cut."""
    return textwrap.TextWrapper(COLUMNS, begin, INDENT, break_long_words=False, break_on_hyphens=False).fill(line)


class _Visible(logging.Formatter):
    """Warnings name files as well, and may be long."""

    def format(self, record: logging.LogRecord) -> str:
        line = visible(super().format(record))
        return folded(line) if sys.stderr.isatty() else line


def exit_status(work: Callable[[], int | None]) -> int:
    """Does the work of a command. ValueError and OSError are the user's input, Failure is not, a bug is a traceback."""
    if logging.lastResort:  # what prints warnings here, as no command sets up another
        logging.lastResort.setFormatter(_Visible())
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:  # the reader of our output had enough; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(f"error: {_reason(error)}", 2)
    except ValueError as error:
        return _say(f"error: {error}", 2)
    except Failure as error:
        return _say(f"error: {error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _say("error: not enough memory for that; close other programs, or give smaller sizes and batches", 2)


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def _say(message: str, status: int) -> int:
    """On one line, whatever a message has brought along."""
    line = visible(" ".join(message.split()))
    print(line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}", file=sys.stderr)
    return status
