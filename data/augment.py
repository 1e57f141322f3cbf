"""Random changes of training frames, and the plain placement of all others: a Sample in, pixels of the network input out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.dataset import Sample, clip
from data.resize import Geometry, fit, resize
from data.settings import AugmentSettings


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame as the network gets it: image uint8 [H, W, 3]; boxes [n, 4], labels [n], ignore [m, 4] in its pixels.

    `geometry` is the plain placement of the frame; after random changes it tells sizes only.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    frame: str
    geometry: Geometry


def place(sample: Sample, policy: str, out: np.ndarray) -> Placed:
    """The frame resized into `out` [H, W, 3], unchanged otherwise: what validation and detection see."""
    size = (out.shape[0], out.shape[1])
    geometry = fit((sample.image.shape[0], sample.image.shape[1]), size, policy)
    resize(sample.image, geometry, out)
    boxes, labels = clip(geometry.apply(sample.boxes), sample.labels, size)
    ignore, _ = clip(geometry.apply(sample.ignore), np.full(len(sample.ignore), -1), size)
    return Placed(out, boxes, labels, ignore, sample.frame, geometry)


class Augment:
    """Applies the settings' random changes; all randomness comes from the generator that is passed in."""

    def __init__(self, settings: AugmentSettings, policy: str) -> None:
        self.settings, self.policy = settings, policy

    def __call__(
        self, sample: Sample, rng: np.random.Generator, another: Callable[[], Sample], out: np.ndarray
    ) -> Placed:
        return place(sample, self.policy, out)
