"""What a network says about its input to Detections in pixels of the original image. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.detections import Detections
from detector.inference.suppression import CANDIDATES, LIMIT, suppress
from detector.inference.thresholds import Threshold, lowest, of_labels

if TYPE_CHECKING:
    from detector.network.model import DetectionModel


def detect(
    network: DetectionModel,
    outputs: Any,
    geometries: Sequence[Geometry],
    conf: Threshold,
    iou: float,
    limit: int = LIMIT,
    candidates: int = CANDIDATES,
) -> list[Detections]:
    """Outputs of `network` -> detections in pixels of the B originals, with masks where it draws any."""
    found = []
    for image, geometry in zip(network.candidates(outputs, lowest(conf)), geometries, strict=True):
        boxes, scores, labels = (part.cpu().numpy() for part in image)
        if not isinstance(conf, float):  # before suppression, so that no box is averaged with what does not count
            counts = scores > conf[labels]
            boxes, scores, labels = boxes[counts], scores[counts], labels[counts]
        found.append(to_detections(boxes, scores, labels, geometry, iou, limit, candidates, network.averages))
    if not network.draws:
        return found
    from detector.inference.masks import with_masks  # late: it needs torch, which exported files do without

    return with_masks(network, outputs, found, geometries)


def select(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    geometries: Sequence[Geometry],
    conf: Threshold,
    iou: float,
    limit: int = LIMIT,
    candidates: int = CANDIDATES,
    average: bool = True,
) -> list[Detections]:
    """The same of an exported graph's outputs: boxes [B, N, 4] xyxy px of its input, scores [B, N, K]."""
    found = []
    for image, geometry in zip(zip(boxes, scores, strict=True), geometries, strict=True):
        row, label = np.divmod(np.flatnonzero(image[1] > conf), image[1].shape[1])
        scores = image[1][row, label]
        found.append(to_detections(image[0][row], scores, label, geometry, iou, limit, candidates, average))
    return found


def to_detections(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    geometry: Geometry,
    iou: float,
    limit: int = LIMIT,
    candidates: int = CANDIDATES,
    average: bool = True,
) -> Detections:
    """Candidates of one image: boxes [n, 4] xyxy px of the network input, scores [n], labels [n], in any order."""
    return _in_original(*suppress(boxes, scores, labels, iou, limit, candidates, average), geometry)


def split(found: NDArray[np.float32], geometries: Sequence[Geometry], conf: Threshold) -> list[Detections]:
    """The same of a graph that suppresses: [M, 7] image, x1, y1, x2, y2, score, label; what scores above `conf`."""
    image, label = found[:, 0], found[:, 6].astype(np.int64)
    counts = found[:, 5] > of_labels(conf, label)
    each = [counts & (image == index) for index in range(len(geometries))]
    return [
        _in_original(found[rows, 1:5], found[rows, 5], label[rows], geometry)
        for rows, geometry in zip(each, geometries, strict=True)
    ]


def _in_original(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64], geometry: Geometry
) -> Detections:
    height, width = geometry.source
    original = geometry.invert(boxes).clip(0, [width, height, width, height])
    return Detections(original.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64))
