"""What went wrong with single sources while the others went on: said once when it happens, kept for the summary."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from system.command import visible


def print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Journal:
    """Failures cost the exit status, warnings do not. Any thread may write; `echo` shows a line at once."""

    echo: Callable[[str], None] = print_to_stderr
    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def failed(self, source: str, reason: str) -> None:
        with self._lock:
            self.failures[source] = reason
        self.echo(visible(f"skipped: {source}: {reason}"))

    def warn(self, message: str) -> None:
        with self._lock:
            self.warnings.append(message)
        self.echo(visible(f"warning: {message}"))

    def drop(self, source: str, frames: int) -> None:
        with self._lock:
            self.dropped[source] = frames
