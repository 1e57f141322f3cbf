"""From which score up a detection counts: one limit for all classes, or one for each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from system.command import fraction
from system.names import check_name

Threshold = float | NDArray[np.float32]  # one for all classes, or [K] one a class: inf where it is not wanted


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`named` classes have a limit of their own, all `others` this one. With `only`, no other class is wanted."""

    others: float = 0.25
    named: Mapping[str, float] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.others, *self.named.values()):
            if not 0 <= value <= 1:
                raise ValueError(f"conf {value}: a score is between 0 and 1")

    @property
    def lowest(self) -> float:
        """What anything has to score at least."""
        return min([self.named.get(name, self.others) for name in self.only] or [self.others, *self.named.values()])

    def of(self, classes: Sequence[str]) -> Threshold:
        """For a network that knows these classes. Raises ValueError for a class that it does not know."""
        for name in (*self.named, *self.only):
            check_name("class", name, classes)
        if not self.named and not self.only:
            return self.others
        wanted = self.only or classes
        limits = [self.named.get(name, self.others) if name in wanted else np.inf for name in classes]
        return np.array(limits, np.float32)


def lowest(threshold: Threshold) -> float:
    """What a network has to score at least for anything to count."""
    return threshold if isinstance(threshold, float) else float(threshold.min())


def of_labels(threshold: Threshold, labels: NDArray[np.int64]) -> Threshold:
    """What detections of these labels have to score."""
    return threshold if isinstance(threshold, float) else threshold[labels]


def thresholds(text: str) -> Thresholds:
    """An argument: `0.4`, `Car=.5,Pedestrian=.3`, or both, `.25,Car=.5`."""
    others, named = Thresholds().others, {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            if equals:
                named[name.strip()] = fraction(value)
            else:
                others = fraction(value)
        except ValueError:
            expected = "expected a score such as 0.25, or one a class: .25,Car=.5"
            raise argparse.ArgumentTypeError(f"{part!r}: {expected}") from None
    return Thresholds(others, named)
