"""Where a run stands: all that a resumed run needs to go on at the very next step, besides tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Plain numbers, saved in last.pt."""

    epoch: int = 0  # whole epochs done, over all phases
    step: int = 0  # optimiser steps done, over all epochs
    step_in_epoch: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    worse: int = 0  # validations since the best one
    skipped: int = 0  # non-finite steps so far
    bad_in_a_row: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of this epoch, for its row in metrics.csv

    def __post_init__(self) -> None:
        for name in ("epoch", "step", "step_in_epoch"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"progress.{name} is {value!r:.40}, expected a count")

    def count_step(self, parts: Mapping[str, float], images: int, seconds: float, waited: float) -> None:
        """Adds a step: its loss parts, how long it took, and how much of that was waiting for data."""
        self.step += 1
        self.step_in_epoch += 1
        self.seconds += seconds
        finite = {f"loss_{name}": value for name, value in parts.items() if math.isfinite(value)}
        counted = {**finite, "steps": 1.0, "images": float(images), "seconds": seconds, "waited": waited}
        for name, value in counted.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def count_score(self, score: float) -> bool:
        """Adds a validation; whether it is the best so far."""
        if score > self.best:
            self.best, self.best_epoch, self.worse = score, self.epoch + 1, 0
            return True
        self.worse += 1
        return False

    def end_epoch(self) -> None:
        self.epoch += 1
        self.step_in_epoch = 0
        self.sums = {}

    @property
    def losses(self) -> dict[str, float]:
        """Mean of every loss part over the steps of this epoch."""
        steps = max(self.sums.get("steps", 0.0), 1.0)
        return {name: total / steps for name, total in self.sums.items() if name.startswith("loss_")}

    @property
    def images_per_second(self) -> float:
        return self.sums.get("images", 0.0) / max(self.sums.get("seconds", 0.0), 1e-9)

    @property
    def wait_share(self) -> float:
        return self.sums.get("waited", 0.0) / max(self.sums.get("seconds", 0.0), 1e-9)
