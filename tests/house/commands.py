"""The commands that a page shows, as words that a program takes.

A command is a line of a ``` block without a language, or a `span` that begins with python, torchrun or kitti-. A block
holds commands only, or none: then it is output, a tree of files, a picture.

A form is a command with [what may be left out], one|other, or [word ...] for more of them. It is read with all of its
options, and with the first of several. Words of capitals are the reader's: STANDS_FOR says what is put in their place.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("python ", "torchrun ", "kitti-", "make ", "pip ", "python3 -m venv ", "docker ")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`((?:python|torchrun|kitti-(?:train|evaluate|detect|compare)) [^`\n]+)`")
QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*'|#.*)")
STANDS_FOR = {
    "ROOT": "datasets/kitti",
    "W": "runs/kitti/best.pt",
    "W.pt": "runs/kitti/best.pt",
    "CLIP": "drive.mp4",
    "LABEL_DIR": "datasets/kitti/training/label_2",
    "RESULT_DIR": "results",
    "HEIGHT": "160",
    "WIDTH": "512",
    "N": "2",
}
READERS = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, STANDS_FOR))})(?![\w.-])")


class Command(NamedTuple):
    where: str
    words: list[str]
    is_form: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def commands(page: Path) -> list[Command]:
    """In the order of the page."""
    text, found = page.read_text(encoding="utf-8"), []
    for number, line in sorted(_lines(text)):
        in_full = _in_full(line)
        shown = shlex.split(in_full, comments=True)
        words = [READERS.sub(lambda at: STANDS_FOR[at[0]], word) for word in shown]
        found.append(Command(f"{page.name}:{number}", words, in_full != line or words != shown))
    return found


def code(page: Path, language: str) -> list[str]:
    return [block[2] for block in BLOCK.finditer(page.read_text(encoding="utf-8")) if block[1] == language]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for block in BLOCK.finditer(text):
        if not block[1]:
            first = text.count("\n", 0, block.start(2)) + 1
            lines = re.sub(r"\n +(?=--|\[)", " ", block[2]).splitlines()  # an option that begins a line goes on
            begins = [line.startswith(PROGRAMS) for line in lines if line.strip()]
            assert all(begins) or not any(begins), f"line {first}: a block of commands and of other lines"
            if all(begins):
                yield from ((number, line) for number, line in enumerate(lines, first) if line.strip())
    prose = BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in SPAN.finditer(prose):
        yield prose.count("\n", 0, span.start()) + 1, span[1]


def _in_full(line: str) -> str:
    """A form with all of its options. What is quoted, and a comment, stay as they are."""
    parts = QUOTED.split(line)
    for at in range(0, len(parts), 2):
        text = re.sub(r"(?<=\S)\|[^\s\[\]]+", "", parts[at].replace(" ...]", "]"))
        for _ in range(2):  # brackets may stand in brackets
            text = re.sub(r"\[([^\[\]|]*)(?:\|[^\[\]]*)?\]", r"\1", text)
        parts[at] = text
    return "".join(parts)
