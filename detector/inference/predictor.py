"""Images in, detections out: the one way in which evaluate.py, detect.py and validation run a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry, fit_together, resize
from detector.inference.backend import Backend, open_backend
from detector.inference.detections import Detections
from detector.inference.joining import View, join, threshold_of_one, unmirrored, views_of
from detector.inference.thresholds import Thresholds
from detector.inference.weights import SHIPPED

Image = NDArray[np.uint8]  # [h, w, 3] RGB


@dataclass(frozen=True, slots=True)
class _Begun:
    """What one view is at."""

    view: View
    geometries: Sequence[Geometry]
    outputs: Callable[[], Any]


class Predictor:
    """Resizes, runs and suppresses. Images of one call share a batch; they may differ in size.

    views: of an image, beside the plain one; None: those of the shipped model, else none.
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
        views: Sequence[str] | None = None,
    ) -> None:
        if views is None:
            views = SHIPPED[str(weights)].views if str(weights) in SHIPPED else ()
        if isinstance(weights, (str, Path)):
            weights = open_backend(weights, device, precision, threads, many)
        self.backend: Backend = weights
        self.conf = conf.of(weights.classes) if isinstance(conf, Thresholds) else conf
        self.iou = iou
        self._views = views_of(weights, views)
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
        begun = [self._begin(view, images) for view in self._views]
        return partial(self._finish, begun, [image.shape[1] for image in images])

    def _begin(self, view: View, images: Sequence[Image]) -> _Begun:
        started = time.perf_counter()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        geometries = fit_together(sizes, view.backend.size, view.backend.policy)
        batch = np.empty((len(images), *geometries[0].target, 3), np.uint8)
        for image, geometry, out in zip(images, geometries, batch, strict=True):
            resize(np.ascontiguousarray(image[:, ::-1]) if view.mirrored else image, geometry, out)
        resized = self._spend("preprocess", started)
        outputs = view.backend.start(batch)
        self._spend("network", resized)
        return _Begun(view, geometries, outputs)

    def _finish(self, begun: Sequence[_Begun], widths: Sequence[int]) -> list[Detections]:
        views = [self._found(one, widths) for one in begun]
        started = time.perf_counter()
        if len(views) == 1:
            (found,) = views
        else:
            found = [join(each, self.conf, self.iou) for each in zip(*views, strict=True)]
        self._spend("postprocess", started)
        self.timings["images"] += len(widths)
        return [replace(one, classes=self.classes) for one in found]

    def _found(self, begun: _Begun, widths: Sequence[int]) -> list[Detections]:
        started = time.perf_counter()
        outputs = begun.outputs()
        ran = self._spend("network", started)
        conf = threshold_of_one(self.conf) if len(self._views) > 1 else self.conf
        found = begun.view.backend.finish(outputs, begun.geometries, conf, self.iou)
        if begun.view.mirrored:
            found = [unmirrored(one, width) for one, width in zip(found, widths, strict=True)]
        self._spend("postprocess", ran)
        return found

    def _spend(self, part: str, started: float) -> float:
        now = time.perf_counter()
        self.timings[part] += now - started
        return now
