"""What the validation split says of the weights: the same predictor and the same evaluator as evaluate.py."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.detection import KittiDataset
from data.formats.kitti import read_labels
from data.images import read_image
from detector.config import Config
from detector.evaluation.charts import LIGHT, precision_recall
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.network_results import to_labels
from detector.evaluation.run import LOWEST_SCORE
from detector.inference.detections import Detections
from detector.inference.predictor import Image, Predictor
from detector.inference.pytorch import TorchBackend
from detector.network.model import DetectionModel
from detector.video.drawing import draw
from training.distributed import World
from training.task import Validation

SHOWN_SCORE = 0.25
BATCH = 8
PICTURES = 3  # frames shown in TensorBoard


def validate(
    network: DetectionModel, dataset: KittiDataset, config: Config, precision: str, world: World
) -> Validation:
    """Every rank predicts its share of the frames; all get the same numbers, the main one the pictures too."""
    classes = dataset.class_set.names
    backend = TorchBackend(network, classes, config.data.resize, config.size, world.device or "cpu", precision)
    predictor = Predictor(backend, conf=LOWEST_SCORE)
    pictures: list[NDArray[np.uint8]] = []
    found: dict[str, Detections] = {}
    for frames, images in _read(dataset, tuple(world.share(dataset.frames))):
        for frame, image, detections in zip(frames, images, predictor.predict(images), strict=True):
            found[frame] = detections
            if world.is_main and len(pictures) < PICTURES:
                draw(image, detections.above(SHOWN_SCORE), classes)
                pictures.append(image)

    everything = {frame: item for share in world.gather(found) for frame, item in share.items()}

    def score_all() -> Evaluation:
        ground_truth = {frame: read_labels(dataset.label_path(frame)) for frame in dataset.frames}
        results = {frame: to_labels(everything[frame], classes) for frame in dataset.frames}
        return evaluate(ground_truth, results, classes)

    evaluation = world.main_does(score_all)
    metrics = flat_metrics(evaluation.to_json())
    figures = {"precision_recall": precision_recall(evaluation.kitti)(LIGHT)} if world.is_main else {}
    best = config.train.best
    score = metrics.get(best if best in ("mAP50", "AP") else f"AP40_{best}_moderate", 0.0)
    return Validation(score, metrics, _line(metrics), pictures, figures)


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
