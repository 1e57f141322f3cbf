"""What both protocols do: find the boxes of a frame that overlap, and match greedily, all frames in lock step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.columns import Columns

IntArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Object and detection [p] of one frame (rows of their columns) and their overlap."""

    object: IntArray
    detection: IntArray
    overlap: FloatArray

    def __len__(self) -> int:
        return len(self.object)

    def select(self, rows: IntArray | BoolArray) -> Pairs:
        return Pairs(self.object[rows], self.detection[rows], self.overlap[rows])


def take_in_turn(takers: IntArray, things: IntArray, rounds: IntArray, n_things: int) -> IntArray:
    """Greedy matching: in round 0, 1, ... every taker of that round takes its first thing that is still free.

    Rows [i] say that a taker may take a thing; the rows of a taker stand together, best first. Two takers of one round
    never compete for a thing. Returns the indices of the rows that came true.
    """
    free = np.ones(n_things, np.bool_)
    by_round = np.argsort(rounds, kind="stable")
    taken: list[IntArray] = [np.zeros(0, np.intp)]
    for rows in np.split(by_round, np.cumsum(np.bincount(rounds))[:-1]):
        rows = rows[free[things[rows]]]
        first = first_of_run(takers[rows])
        free[things[rows[first]]] = False
        taken.append(rows[first])
    return np.concatenate(taken)


def turns(frame: IntArray, taker: IntArray) -> IntArray:
    """[p] The turn of each row's taker among those takers of its frame that occur; `frame` [taker] is ascending."""
    distinct, inverse = np.unique(taker, return_inverse=True)
    frames = frame[distinct]
    return (np.arange(len(distinct)) - np.searchsorted(frames, frames, side="left"))[inverse]


def first_of_run(values: IntArray) -> BoolArray:
    """[n] whether a value differs from the one before it."""
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def ranges(first: IntArray, count: IntArray) -> tuple[IntArray, IntArray]:
    """For each i the numbers first[i], first[i]+1, ... (count[i] of them): the i they belong to, and the numbers."""
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - before[owner] + first[owner]


def intersections(first: Columns, second: Columns) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of boxes of one frame that share an area: row of `first` (ascending), row of `second`, and the area."""
    begin = np.searchsorted(second.frame, first.frame, side="left")
    a, b = ranges(begin, np.searchsorted(second.frame, first.frame, side="right") - begin)
    ax1, ay1, ax2, ay2 = first.boxes.T
    bx1, by1, bx2, by2 = second.boxes.T
    width = np.minimum(ax2[a], bx2[b]) - np.maximum(ax1[a], bx1[b])
    touching = width > 0
    a, b, width = a[touching], b[touching], width[touching]
    height = np.minimum(ay2[a], by2[b]) - np.maximum(ay1[a], by1[b])
    touching = height > 0
    return a[touching], b[touching], width[touching] * height[touching]


def areas(columns: Columns) -> FloatArray:
    x1, y1, x2, y2 = columns.boxes.T
    return (x2 - x1) * (y2 - y1)


def heights(columns: Columns) -> FloatArray:
    return columns.boxes[:, 3] - columns.boxes[:, 1]


def overlapping(objects: Columns, detections: Columns, limit: float) -> Pairs:
    """Pairs with an intersection over union above `limit`, by object, detections in file order."""
    a, b, shared = intersections(objects, detections)
    overlap = shared / (areas(detections)[b] + areas(objects)[a] - shared)
    return Pairs(a, b, overlap).select(overlap > limit)
