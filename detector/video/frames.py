"""What flows out of every source: frames with their place in time. Torch-free."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.video.journal import Journal

Kind = Literal["image", "video", "live"]


class SourceError(OSError):
    """A source that cannot be read. The message says why and what to do, without naming the source."""


class NotThere(SourceError):
    """A source that waiting will not bring."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a video frame is shown, in ticks of `time_base` seconds; `rate` is the nominal rate in frames a second."""

    pts: int
    duration: int
    time_base: Fraction
    rate: Fraction


@dataclass(slots=True)
class Frame:
    """image uint8 [H, W, 3] RGB, upright. `index` counts the frames of the source from 0, also those passed over."""

    source: str
    name: str
    kind: Kind
    index: int
    time_s: float
    image: NDArray[np.uint8]
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Frames to look at: every N-th of those with start <= time < end, at most max_frames."""

    every: int = 1
    start: float = 0.0
    end: float = math.inf
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"--every {self.every}: give 1 (every frame) or more")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"--max-frames {self.max_frames}: give 1 or more")
        if self.end <= self.start:
            raise ValueError(f"--end {self.end:g} s is not after --start {self.start:g} s")


class Source(Protocol):
    """Something that yields frames. `source` is how people know it, `name` the stem of what is written about it."""

    source: str
    name: str
    kind: Kind

    def frames(self, journal: Journal, stop: threading.Event) -> Iterator[Frame]:
        """Frames in order. Raises SourceError if it cannot be read at all; ends early once `stop` is set."""

    def probe(self) -> None:
        """Raises SourceError where it is known at once that nothing can be read."""

    def expected_frames(self) -> int | None:
        """How many frames will come, if that can be known without reading everything."""


def parse_time(text: str) -> float:
    """ "90", "1:30" or "0:01:30.5" -> seconds."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise ValueError(f"time {text!r}: write seconds (90.5) or [h:]m:s (1:30)")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
