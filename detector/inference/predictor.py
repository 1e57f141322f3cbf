"""Images in, detections out: the one way in which evaluate.py, detect.py and validation run a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry, fit_together, resize
from detector.inference.backend import Backend, open_backend
from detector.inference.detections import Detections
from detector.inference.thresholds import Thresholds

Image = NDArray[np.uint8]  # [h, w, 3] RGB


class Predictor:
    """Resizes, runs and suppresses. Images of one call share a batch; they may differ in size.

    many: for `start`; worth it for videos and folders.
    `timings` sums seconds spent in "preprocess", "network" (of calls that were started: waiting for it) and
    "postprocess", and counts "images".
    """

    def __init__(
        self,
        weights: str | Path | Backend,
        device: str = "auto",
        precision: str = "auto",
        conf: float | Thresholds = 0.25,
        iou: float = 0.45,
        threads: int | None = None,
        many: bool = False,
    ) -> None:
        if isinstance(weights, (str, Path)):
            weights = open_backend(weights, device, precision, threads, many)
        self.backend: Backend = weights
        self.conf = conf.of(weights.classes) if isinstance(conf, Thresholds) else conf
        self.iou = iou
        self.timings = {"preprocess": 0.0, "network": 0.0, "postprocess": 0.0, "images": 0.0}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.backend.classes

    @overload
    def predict(self, images: Image) -> Detections: ...
    @overload
    def predict(self, images: Sequence[Image]) -> list[Detections]: ...

    def predict(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """One image gives its detections, a list of images a list; boxes are in pixels of each original image."""
        if isinstance(images, np.ndarray):
            return self.predict([images])[0]
        if not images:
            return []
        return self.start(images)()

    @property
    def ahead(self) -> int:
        """How many calls of `start` to have begun: those that run beside each other, and one that waits."""
        return self.backend.lanes + 1 if self.backend.lanes > 1 else 1

    def start(self, images: Sequence[Image]) -> Callable[[], list[Detections]]:
        """Begins `predict`, and gives what waits for its end."""
        started = time.perf_counter()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        geometries = fit_together(sizes, self.backend.size, self.backend.policy)
        batch = np.empty((len(images), *geometries[0].target, 3), np.uint8)
        for image, geometry, out in zip(images, geometries, batch, strict=True):
            resize(image, geometry, out)
        resized = self._spend("preprocess", started)
        outputs = self.backend.start(batch)
        self._spend("network", resized)
        return partial(self._finish, outputs, geometries)

    def _finish(self, outputs: Callable[[], Any], geometries: Sequence[Geometry]) -> list[Detections]:
        started = time.perf_counter()
        found = outputs()
        ran = self._spend("network", started)
        detections = self.backend.finish(found, geometries, self.conf, self.iou)
        self._spend("postprocess", ran)
        self.timings["images"] += len(geometries)
        return [replace(one, classes=self.classes) for one in detections]

    def _spend(self, part: str, started: float) -> float:
        now = time.perf_counter()
        self.timings[part] += now - started
        return now
