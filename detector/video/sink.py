"""What a sink is: somewhere that results go, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.inference.detections import Detections
from detector.video.frames import Frame, SourceError


@dataclass(frozen=True, slots=True)
class Result:
    """One frame and what was found in it; `ids` run beside the detections when tracking."""

    frame: Frame
    detections: Detections
    classes: Sequence[str]
    ids: Sequence[int | None] | None = None

    @property
    def stem(self) -> str:
        """Name of this frame's own files: an image's name, or the video's with the frame number as in KITTI."""
        return self.frame.name if self.frame.kind == "image" else f"{self.frame.name}/{self.frame.index:06d}"


class Sink:
    """Takes every result of a run. What it writes is named after the source's unique name."""

    wants_drawing = False  # sees the frame before boxes are drawn into it

    def write(self, result: Result) -> None:
        raise NotImplementedError

    def end(self, name: str) -> None:
        """No more frames will come of the source called `name`."""

    def close(self) -> None:
        """No more frames will come."""


class FrameFiles(Sink):
    """Base of the sinks that fill a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, stem: str, suffix: str) -> Path:
        path = self.folder / f"{stem}{suffix}"
        if not path.resolve().is_relative_to(self.folder.resolve()):  # stem has names from files that others wrote
            raise SourceError(f"{stem}{suffix} lies outside {self.folder}; nothing is written there")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
