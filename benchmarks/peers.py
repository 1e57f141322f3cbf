"""Ultralytics' networks in a process of their own, asked over pipes. ultralytics_worker.py says what can be asked."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

WORKER = Path(__file__).with_name("ultralytics_worker.py")


class Peer:
    """The worker in another Python environment, which works in `folder`; it ends with the block."""

    def __init__(self, python: Path, threads: int, folder: Path) -> None:
        self.python = python
        self._process = subprocess.Popen(
            [str(python), str(WORKER), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
        )

    def ask(self, **request: object) -> dict[str, Any]:
        """Its answer; "error" in it says what went wrong."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return json.loads(answer) if answer else {"error": f"{self.python} ended; does it have ultralytics?"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
