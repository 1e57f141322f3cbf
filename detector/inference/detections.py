"""What a detector says about one image. Torch-free, so that evaluation and video import it cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.formats.kitti import Label

BOX_DECIMALS, SCORE_DECIMALS = 2, 6


@dataclass(frozen=True, slots=True)
class Detections:
    """Best first. boxes [n, 4] x1 y1 x2 y2 in pixels of the original image, scores [n] and labels [n]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        kept = self.scores >= score
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept])


def to_labels(detections: Detections, classes: Sequence[str]) -> list[Label]:
    """Results as KITTI writes them: 2 decimals of a pixel; all that a 2D detector does not know stays unknown."""
    return [
        Label(
            classes[label],
            (round(x1, BOX_DECIMALS), round(y1, BOX_DECIMALS), round(x2, BOX_DECIMALS), round(y2, BOX_DECIMALS)),
            score=round(score, SCORE_DECIMALS),
        )
        for (x1, y1, x2, y2), score, label in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
        )
    ]
