"""What a doctor says about labelled frames: what is in them, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.annotation import Annotation, Box, Problem
from data.findings import SHOWN, bars, listed

TOLERANCE = 1.0  # pixels; KITTI's own boxes end exactly at the last pixel, those of converters often one further
# Lower edges of the bins of box heights; KITTI counts objects from 25 px, easy ones from 40 px.
HEIGHTS = {0: "0-12", 12: "12-25", 25: "25-40", 40: "40-64", 64: "64-100", 100: "100-160", 160: "160-256", 256: "256-"}


@dataclass
class Report:
    root: str
    images: int = 0
    labels: int = 0
    background: int = 0  # frames without objects and regions
    classes: Counter[str] = field(default_factory=Counter)
    box_heights: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(HEIGHTS.values(), 0)))
    image_sizes: Counter[str] = field(default_factory=Counter)
    splits: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "problem_counts": Counter(problem.kind for problem in self.problems),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def count(self, objects: Sequence[Annotation], hw: tuple[int, int] | None) -> None:
        """One more frame, of (height, width) `hw` where it can be read."""
        self.background += not objects
        self.classes.update(item.name for item in objects)
        self.box_heights.update(_bin(item) for item in objects if not item.ignore)
        if hw:
            self.image_sizes[f"{hw[1]} x {hw[0]}"] += 1

    def text(self, shown: int | None = SHOWN) -> str:
        """For a terminal of 80 columns; `shown` problems of each kind, None: all."""
        objects = sum(self.classes.values())
        lines = [f"{self.root}", f"{self.images:,} images, {self.labels:,} label files, {objects:,} objects"]
        lines += [f"{self.background:,} frames have no object: background"] if self.background else []
        lines += ["", "Objects by class", *bars(self.classes), ""]
        lines += ["Objects by box height in pixels (without regions to ignore)", *bars(self.box_heights), ""]
        if self.image_sizes:
            common = dict(self.image_sizes.most_common(8))
            others = len(self.image_sizes) - len(common)
            if others:
                common[f"{others} others"] = self.image_sizes.total() - sum(common.values())
            lines += ["Images by size", *bars(common), ""]
        lines += ["Frames by split", *bars(self.splits), ""]
        lines += listed(self.problems, shown)
        return "\n".join(lines)


def _bin(item: Annotation) -> str:
    height = item.box[3] - item.box[1]
    return HEIGHTS[max((edge for edge in HEIGHTS if height >= edge), default=0)]


def box_fault(name: str, box: Box, hw: tuple[int, int] | None, tolerance: float = TOLERANCE) -> tuple[str, str] | None:
    """What is wrong with a box in an image of (height, width): the kind of problem and the words for it."""
    x1, y1, x2, y2 = box
    shown = f"{name} {x1:g} {y1:g} {x2:g} {y2:g}"
    if x2 <= x1 or y2 <= y1:
        return "box inverted or without area", f"{shown}, expected x1 < x2 and y1 < y2"
    if hw and (min(x1, y1) < -tolerance or x2 > hw[1] - 1 + tolerance or y2 > hw[0] - 1 + tolerance):
        return "box outside the image", f"{shown}, the image is {hw[1]} x {hw[0]}"
    return None


def reason_of(error: Exception, path: Path) -> str:
    return str(error.strerror if isinstance(error, OSError) else error).removeprefix(f"{path}: ")
