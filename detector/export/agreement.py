"""Does an exported file say what the network said? Largest differences of raw outputs, and AP on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from data.annotation import Annotation
from data.resize import fit
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.export.graph import ImagesToBoxes
from detector.inference.detections import Detections, to_labels
from detector.inference.exported import ExportedBackend
from detector.inference.predictor import Image, Predictor

SEEN = 0.25  # detect.py's threshold: from here on a difference is one that people see


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest absolute differences from PyTorch in float32: over all predictions, and over those it is sure of."""

    predictions: int
    boxes: float
    scores: float
    seen: int
    seen_boxes: float
    seen_scores: float
    close: bool  # as equal as float32 on two runtimes gets

    def __str__(self) -> str:
        lines = [
            f"largest difference from PyTorch over {self.predictions} predictions:\n  "
            f"boxes {self.boxes:.3g} px, scores {self.scores:.2g}"
        ]
        if self.seen:
            lines.append(
                f"of the {self.seen} that PyTorch scores above {SEEN}: "
                f"boxes {self.seen_boxes:.3g} px, scores {self.seen_scores:.2g}"
            )
        return "\n".join(lines)


def compare(graph: ImagesToBoxes, backend: ExportedBackend, images: NDArray[np.uint8]) -> Difference:
    """Both on images [B, H, W, 3] of the input size."""
    with torch.inference_mode():
        expected_boxes, expected_scores = (output.numpy() for output in graph(torch.from_numpy(images)))
    boxes, scores = backend.run(images)
    off_boxes, off_scores = np.abs(boxes - expected_boxes), np.abs(scores - expected_scores)
    seen = expected_scores.max(-1) > SEEN
    return Difference(
        predictions=seen.size,
        boxes=float(off_boxes.max()),
        scores=float(off_scores.max()),
        seen=int(seen.sum()),
        seen_boxes=float(off_boxes[seen].max(initial=0)),
        seen_scores=float(off_scores[seen].max(initial=0)),
        close=np.allclose(boxes, expected_boxes, rtol=1e-3, atol=0.1) and bool(off_scores.max() < 1e-3),
    )


def find_in_inputs(backend: ExportedBackend, inputs: NDArray[np.uint8], conf: float, iou: float) -> list[Detections]:
    """What it finds in images [B, H, W, 3] of the input size, in pixels of the input."""
    whole = fit(backend.size, backend.size, backend.policy)
    return backend.finish(backend.run(inputs), [whole] * len(inputs), conf, iou)


def same(a: Detections, b: Detections) -> bool:
    """The same detections in the same order, as far as two ways of rounding can tell."""
    return (
        np.array_equal(a.labels, b.labels)
        and np.allclose(a.boxes, b.boxes, rtol=1e-5, atol=1e-3)
        and np.allclose(a.scores, b.scores, rtol=0, atol=1e-5)
    )


def sample_images(size: tuple[int, int], count: int = 4) -> NDArray[np.uint8]:
    """Patches of colour of all sizes under noise, [count, H, W, 3]: something to look at where no frames are given."""
    random = np.random.default_rng(0)
    images = np.empty((count, *size, 3), np.uint8)
    for k, image in enumerate(images):
        patches = random.integers(0, 256, (2 ** (k + 1), 2 ** (k + 2), 3), dtype=np.uint8)
        large = cv2.resize(patches, (size[1], size[0]), interpolation=cv2.INTER_NEAREST).astype(np.int16)
        image[:] = (large + random.integers(-20, 21, large.shape)).clip(0, 255)
    return images


def find(predictor: Predictor, frames: Mapping[str, Image]) -> dict[str, Sequence[Annotation]]:
    """What a predictor sees in each frame."""
    return {name: to_labels(predictor.predict(image), predictor.classes) for name, image in frames.items()}


def ap_before_and_after(
    ground_truth: Mapping[str, Sequence[Annotation]],
    before: Mapping[str, Sequence[Annotation]],
    after: Mapping[str, Sequence[Annotation]],
    classes: Sequence[str],
    names: tuple[str, str] = ("fp32", "int8"),
) -> str:
    """A table of both and of what changed, and a sentence that says what it cost."""
    first, second = (_numbers(evaluate(ground_truth, found, classes)) for found in (before, after))
    change = {column: second[column] - first[column] for column in first}
    widths = [max(6, len(column)) + 3 for column in first]
    lines = [" " * 8 + "".join(f"{column:>{width}}" for column, width in zip(first, widths, strict=True))]
    for name, row, sign in zip((*names, "change"), (first, second, change), ("", "", "+"), strict=True):
        cells = (f"{value:{sign}{width}.2f}" for value, width in zip(row.values(), widths, strict=True))
        lines.append(f"{name:8}" + "".join(cells))
    if first["mAP50"] == 0:
        lines.append(f"The {names[0]} network finds nothing in these frames, so this says nothing about {names[1]}.")
    else:
        worst = min(change, key=lambda column: change[column])
        gain = "costs" if change["mAP50"] < 0 else "does not cost"
        cost = f"{names[1]} {gain} mAP50 on these frames ({change['mAP50']:+.2f} points)"
        lines.append(f"{cost}; it loses most in {worst} ({change[worst]:+.2f})." if change[worst] < 0 else f"{cost}.")
    return "\n".join(lines)


def _numbers(evaluation: Evaluation) -> dict[str, float]:
    """In percent: COCO's mAP50 and AP, KITTI's moderate AP40 of its classes that have objects."""
    report = evaluation.to_json()
    numbers = {"mAP50": 100 * report["mAP50"], "AP": 100 * max(0.0, report["coco"]["stats"]["AP"])}
    for name, levels in report["kitti"].items():
        if levels["moderate"]["n_gt"]:
            numbers[name] = levels["moderate"]["AP40"]
    return numbers
