"""What the validation split says of the weights: the same predictor and the same evaluator as evaluate.py."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.detection import KittiDataset
from data.formats.kitti import read_labels
from data.images import read_image
from detector.config import Config
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.network_results import to_labels
from detector.evaluation.run import LOWEST_SCORE
from detector.inference.detections import Detections
from detector.inference.predictor import Image, Predictor
from detector.inference.pytorch import TorchBackend
from detector.network.yolov3.network import YOLOv3
from detector.video.drawing import draw
from training.distributed import World

SHOWN_SCORE = 0.25
BATCH = 8
PICTURES = 3  # frames shown in TensorBoard


@dataclass(frozen=True)
class Validation:
    """score chooses the best weights; metrics go to metrics.csv, line to the terminal, pictures [H, W, 3] and the
    curves of the evaluation to TensorBoard.
    """

    score: float
    metrics: dict[str, float]
    line: str
    pictures: list[NDArray[np.uint8]]
    evaluation: Evaluation | None  # on the main rank


def validate(network: YOLOv3, dataset: KittiDataset, config: Config, precision: str, world: World) -> Validation:
    """Every rank predicts its share of the frames; all get the same numbers, the main one the pictures too."""
    classes = dataset.class_set.names
    backend = TorchBackend(network, classes, config.data.resize, config.size, world.device, precision)
    predictor = Predictor(backend, conf=LOWEST_SCORE)
    pictures: list[NDArray[np.uint8]] = []
    found: dict[str, Detections] = {}
    for frames, images in _read(dataset, dataset.frames[world.rank :: world.size]):
        for frame, image, detections in zip(frames, images, predictor.predict(images), strict=True):
            found[frame] = detections
            if world.is_main and len(pictures) < PICTURES:
                draw(image, detections.above(SHOWN_SCORE), classes)
                pictures.append(image)

    everything = {frame: item for share in world.gather(found) for frame, item in share.items()}
    metrics: dict[str, float] = {}
    evaluation = None
    if world.is_main:
        ground_truth = {frame: read_labels(dataset.label_path(frame)) for frame in dataset.frames}
        results = {frame: to_labels(everything[frame], classes) for frame in dataset.frames}
        evaluation = evaluate(ground_truth, results, classes)
        metrics = flat_metrics(evaluation.to_json())
    metrics = world.from_main(metrics)
    best = config.train.best
    score = metrics.get(best if best in ("mAP50", "AP") else f"AP40_{best}_moderate", 0.0)
    return Validation(score, metrics, _line(metrics), pictures, evaluation)


def flat_metrics(report: dict[str, Any]) -> dict[str, float]:
    """mAP50, AP, and AP40 of every KITTI class and difficulty that has objects, as one row."""
    metrics = {"mAP50": report["mAP50"], "AP": report["coco"]["stats"]["AP"]}
    for name, levels in report["kitti"].items():
        metrics |= {f"AP40_{name}_{level}": cell["AP40"] for level, cell in levels.items() if cell["n_gt"]}
    return metrics


def _read(dataset: KittiDataset, frames: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Image]]]:
    """Batches of decoded frames, the next one read while the network works on this one."""
    groups = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]

    def read(group: tuple[str, ...]) -> list[Image]:
        return [read_image(dataset.image_path(frame)) for frame in group]

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, groups[0]) if groups else None
        for k, group in enumerate(groups):
            assert coming is not None
            images = coming.result()
            coming = reader.submit(read, groups[k + 1]) if k + 1 < len(groups) else None
            yield group, images


def _line(metrics: dict[str, float]) -> str:
    levels = ("easy", "moderate", "hard")
    shown = [f"mAP50 {metrics['mAP50']:.3f}  AP {metrics['AP']:.3f}  AP40"]
    for name in ("Car", "Pedestrian", "Cyclist"):
        values = [metrics.get(f"AP40_{name}_{level}") for level in levels]
        if any(value is not None for value in values):
            shown.append(f"{name} " + "/".join("-" if value is None else f"{value:.1f}" for value in values))
    return "  ".join(shown)
