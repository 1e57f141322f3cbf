"""Boxes of other formats as corners in pixels, and back: what was written is read as it was."""

from __future__ import annotations

from collections.abc import Sequence

from data.annotation import Box

HUGE = 1e9
DECIMALS = 9  # of a pixel: far below what matters, far above what sums and products of doubles lose


def exact(x1: float, y1: float, x2: float, y2: float) -> Box:
    """Corners without what arithmetic left: 387.63 + 36.18 is 423.81, not 423.81000000000006."""
    a, b, c, d = (round(float(edge), DECIMALS) + 0.0 for edge in (x1, y1, x2, y2))  # + 0.0: no -0.0
    return a, b, c, d


def from_shares(shares: Sequence[float], size: tuple[int, int]) -> Box:
    """Centre x and y, width, height as shares of an image of (height, width) -> corners."""
    (x, y, width, height), (rows, columns) = shares, size
    left, top = (x - width / 2) * columns, (y - height / 2) * rows
    right, bottom = (x + width / 2) * columns, (y + height / 2) * rows
    return exact(left, top, right, bottom)


def to_shares(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Corners -> centre x and y, width, height as shares of an image of (height, width)."""
    (x1, y1, x2, y2), (rows, columns) = box, size
    return (x1 + x2) / 2 / columns, (y1 + y2) / 2 / rows, (x2 - x1) / columns, (y2 - y1) / rows


def are_numbers(values: object, count: int) -> bool:
    """Whether this is a list of so many numbers that can be pixels."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return False
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and -HUGE < v < HUGE for v in values)
