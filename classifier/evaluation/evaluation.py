"""The numbers of an evaluation: as a table for the terminal, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classifier.evaluation.verdicts import Verdicts

SHOWN = 10  # classes and confusions on the terminal
LISTED = 100  # confusions in the JSON


@dataclass(frozen=True, slots=True)
class OfClass:
    """Of the pictures of one class: how many, and in percent how many of them are named right."""

    name: str
    images: int
    top1: float
    top5: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """So many pictures of `true` were named `said`."""

    true: str
    said: str
    images: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Verdicts on a split, images a second of the whole way from files to verdicts, what people call the classes."""

    classes: tuple[str, ...]
    verdicts: Verdicts
    images_per_s: float
    titles: Mapping[str, str] = field(default_factory=dict)

    def title(self, name: str) -> str:
        return self.titles.get(name, name)

    def by_class(self) -> list[OfClass]:
        """In the order of the classes; those without pictures are left out."""
        found = []
        for label, name in enumerate(self.classes):
            own = self.verdicts[self.verdicts.labels == label]
            if len(own):
                found.append(OfClass(name, len(own), own.top(1), own.top(5)))
        return found

    def confusions(self) -> list[Confusion]:
        """The most frequent ones first."""
        counts = self.verdicts.confusion(len(self.classes))
        np.fill_diagonal(counts, 0)
        pairs = np.argwhere(counts)
        order = np.argsort(-counts[tuple(pairs.T)], kind="stable")
        return [
            Confusion(self.classes[true], self.classes[said], int(counts[true, said])) for true, said in pairs[order]
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "task": "classification",
            "images": len(self.verdicts),
            "top1": self.verdicts.top(1),
            "top5": self.verdicts.top(5),
            "loss": self.verdicts.loss if np.isfinite(self.verdicts.loss) else None,
            "images_per_s": self.images_per_s,
            "classes": {
                row.name: {"images": row.images, "top1": row.top1, "top5": row.top5} for row in self.by_class()
            },
            "confusions": [
                {"true": row.true, "said": row.said, "images": row.images} for row in self.confusions()[:LISTED]
            ],
        }

    def table(self) -> str:
        """For a terminal: the whole, the worst classes, the most frequent confusions."""
        verdicts = self.verdicts
        rows = sorted(self.by_class(), key=lambda row: row.top1)[:SHOWN]
        lines = [
            f"{len(verdicts):,} pictures of {len(self.classes)} classes, {self.images_per_s:.0f} images/s",
            f"top-1 {verdicts.top(1):.2f} %   top-5 {verdicts.top(5):.2f} %   loss {verdicts.loss:.3f}",
            "",
            f"{'the worst classes':24} {'images':>7} {'top-1':>7} {'top-5':>7}",
            *(f"{self.title(row.name)[:24]:24} {row.images:>7} {row.top1:>7.2f} {row.top5:>7.2f}" for row in rows),
        ]
        confusions = self.confusions()[:SHOWN]
        if confusions:
            lines += ["", "the most frequent confusions"]
            lines += [
                f"{self.title(row.true)[:24]:24} named {self.title(row.said)[:24]:24} {row.images:>7}"
                for row in confusions
            ]
        return "\n".join(lines)
