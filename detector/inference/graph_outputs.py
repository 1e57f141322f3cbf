"""The two forms in which an exported graph says what it sees: every prediction, or detections. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.card import Card
from detector.inference.decode import select, split
from detector.inference.detections import Detections
from detector.inference.thresholds import Threshold, lowest
from detector.inference.weights import WeightsError

Outputs = Sequence[NDArray[np.float32]]


class Form(Protocol):
    """`names` are those of the graph's outputs."""

    names: tuple[str, ...]

    def fits(self, outputs: Outputs, images: int) -> bool:
        """Whether outputs are such as so many images give."""
        ...

    def finish(self, outputs: Outputs, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        """Outputs -> detections in pixels of the original images."""
        ...


class Predictions:
    """boxes [B, N, 4] and scores [B, N, K]: suppression is ours."""

    names: tuple[str, ...] = ("boxes", "scores")

    def __init__(self, card: Card) -> None:
        self._classes, self._averages = len(card.classes), card.averages

    def fits(self, outputs: Outputs, images: int) -> bool:
        boxes, scores = (output.shape for output in outputs)
        rows = boxes[1:2]
        return (boxes, scores) == ((images, *rows, 4), (images, *rows, self._classes))

    def finish(self, outputs: Outputs, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        boxes, scores = outputs
        return select(boxes, scores, geometries, conf, iou, average=self._averages)


class Suppressed:
    """detections [M, 7], image by image, best first: image, x1, y1, x2, y2, score, label. Thresholds are inside."""

    names: tuple[str, ...] = ("detections",)

    def __init__(self, path: Path, classes: int, conf: float, iou: float) -> None:
        self._path, self._classes, self._conf, self._iou = path, classes, conf, iou

    def fits(self, outputs: Outputs, images: int) -> bool:
        (found,) = outputs
        return found.shape[1:] == (7,) and bool(np.isin(found[:, 6], range(self._classes)).all())

    def finish(self, outputs: Outputs, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        if lowest(conf) < self._conf or iou != self._iou:
            inside = f"it suppresses by itself, with --conf {self._conf:g} --iou {self._iou:g}"
            mend = "give the same --iou and no lower --conf, or a file exported without --nms"
            raise WeightsError(f"{self._path}: {inside}; {mend}")
        return split(outputs[0], geometries, conf)


def form_of(card: Card, path: Path) -> Form:
    return Predictions(card) if card.suppressed is None else Suppressed(path, len(card.classes), *card.suppressed)
