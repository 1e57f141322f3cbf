"""What a detector says about one image. Torch-free, so that evaluation and video import it cheaply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """Best first. boxes [n, 4] float32 x1 y1 x2 y2 in pixels of the original image, scores [n] float32, labels [n] int64."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)
