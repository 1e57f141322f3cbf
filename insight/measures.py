"""How good is a map? Does its peak hit the object, does it stay on it, and does the score hang on what it marks?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.resize import PADDING, Geometry
from insight.maps import Map

STEPS = 10  # of a curve: a tenth of the pixels each
BLUR = 10.0  # pixels of the network's input; what insertion starts from shows no more than where the street is
Box = Sequence[float]
Scores = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # images [B, H, W, 3] -> scores [B]


@dataclass(frozen=True)
class Measure:
    """Over objects: mean, standard deviation, how many."""

    mean: float
    spread: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.spread:.3f}" if self.n else "-"


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Measure]:
    """Each measure over all objects."""
    columns = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    return {name: Measure(float(v.mean()), float(v.std()), len(v)) for name, v in columns.items()}


def pointing(over: Map, box: Box) -> float:
    """1 if the map's maximum lies in the box, else 0; a map of zeros points nowhere."""
    if not over.any():
        return 0.0
    y, x = np.unravel_index(over.argmax(), over.shape)
    return float(box[0] <= x + 0.5 <= box[2] and box[1] <= y + 0.5 <= box[3])


def energy(over: Map, box: Box) -> float:
    """The share of the map's sum that lies in the box."""
    total = float(over.sum(dtype=np.float64))
    return float(over[window(over, box)].sum(dtype=np.float64)) / total if total else 0.0


def area(over: Map, box: Box) -> float:
    """The share of the picture that the box takes: what the two above give to a map that knows nothing."""
    return float(over[window(over, box)].size / over.size)


def window(over: Map, box: Box) -> tuple[slice, slice]:
    """The pixels whose centres lie in the box."""
    height, width = over.shape
    x1, y1, x2, y2 = (round(value) for value in np.clip(box, 0, [width, height, width, height]))
    return slice(y1, y2), slice(x1, x2)


def curves(image: NDArray[np.uint8], over: Map, geometry: Geometry, scores: Scores) -> tuple[float, float]:
    """Areas under the curves of deletion and insertion (Petsiuk et al., "RISE", BMVC 2018), both from 0 to 1.

    image [H, W, 3] is the network's input and `over` [H, W] the map on it. Pixels go, most important first, to grey; or
    come, in the same order, into a blurred image. Deletion falls fast, and insertion rises fast, under a good map.
    """
    rank = order(over, geometry)
    grey, blurred = np.full_like(image, PADDING), cv2.GaussianBlur(image, (0, 0), BLUR)
    counts = np.arange(STEPS + 1) * np.count_nonzero(rank >= 0) // STEPS
    marked = ((rank >= 0) & (rank < counts[:, None, None]))[..., None]
    deleted, inserted = (scores(np.where(marked, a, b)) for a, b in ((grey, image), (image, blurred)))
    return _area_under(deleted), _area_under(inserted)


def _area_under(curve: NDArray[np.float32]) -> float:
    return float(np.mean((curve[1:] + curve[:-1]) / 2))


def order(over: Map, geometry: Geometry) -> NDArray[np.int64]:
    """[H, W] how many of the picture's pixels are more important; equal ones in random order. -1 in the padding."""
    x1, y1, x2, y2 = geometry.content
    part = over[y1:y2, x1:x2].ravel()
    by_chance = np.random.default_rng(0).permutation(part.size)
    places = np.empty(part.size, np.int64)
    places[by_chance[np.argsort(-part[by_chance], kind="stable")]] = np.arange(part.size)
    rank = np.full(over.shape, -1)
    rank[y1:y2, x1:x2] = places.reshape(y2 - y1, x2 - x1)
    return rank
