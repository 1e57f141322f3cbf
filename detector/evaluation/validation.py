"""What the validation split says of the weights: the same predictions and the same evaluator as evaluate.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.batches import BatchSampler, make_loader
from data.detection import DetectionDataset
from data.images import read_image
from detector.config import Config
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.run import LOWEST_SCORE, OVERLAP
from detector.inference.detections import Detections, to_labels
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


def validate(network: YOLOv3, dataset: DetectionDataset, config: Config, precision: str, world: World) -> Validation:
    """Every rank predicts its share of the frames; all get the same numbers, the main one the pictures too."""
    classes = dataset.class_set.names
    backend = TorchBackend(network, classes, config.data.resize, config.size, world.device, precision)
    shares = world.gather(_predict(backend, dataset, config, world))
    everything = {frame: found for share in shares for frame, found in share.items()}
    metrics: dict[str, float] = {}
    evaluation, pictures = None, []
    if world.is_main:
        ground_truth = {frame: dataset.annotations(frame) for frame in dataset.frames}
        results = {frame: to_labels(everything[frame], classes) for frame in dataset.frames}
        evaluation = evaluate(ground_truth, results, classes)
        metrics = flat_metrics(evaluation.to_json())
        pictures = [_picture(dataset, frame, everything[frame], classes) for frame in dataset.frames[:PICTURES]]
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


def _predict(backend: TorchBackend, dataset: DetectionDataset, config: Config, world: World) -> dict[str, Detections]:
    """What the network finds in this rank's share of the frames, read as for training."""
    sampler = BatchSampler(
        *(len(dataset), BATCH, config.size), shuffle=False, drop_last=False, rank=world.rank, world=world.size
    )
    found: dict[str, Detections] = {}
    for batch in make_loader(dataset, sampler, policy=config.data.resize, workers=config.data.workers):
        images = batch.images.permute(0, 2, 3, 1).numpy()  # [B, H, W, 3] as it lies in memory, so nothing is copied
        detections = backend.finish(backend.run(images), batch.geometries, LOWEST_SCORE, OVERLAP)
        found.update(zip(batch.ids, detections, strict=True))
    return found


def _picture(dataset: DetectionDataset, frame: str, found: Detections, classes: Sequence[str]) -> NDArray[np.uint8]:
    """The frame at its full size with what was found in it."""
    image = read_image(dataset.image_path(frame))
    draw(image, found.above(SHOWN_SCORE), classes)
    return image


def _line(metrics: dict[str, float]) -> str:
    """mAP50, AP, and AP40 easy/moderate/hard of each class that has it."""
    names = dict.fromkeys(key.split("_", 1)[1].rsplit("_", 1)[0] for key in metrics if key.startswith("AP40_"))
    shown = [f"mAP50 {metrics['mAP50']:.3f}  AP {metrics['AP']:.3f}" + ("  AP40" if names else "")]
    for name in names:
        values = [metrics.get(f"AP40_{name}_{level}") for level in ("easy", "moderate", "hard")]
        shown.append(f"{name} " + "/".join("-" if value is None else f"{value:.1f}" for value in values))
    return "  ".join(shown)
