"""What the validation split says of the weights: the same predictions and the same evaluator as evaluate.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from data.batches import BatchSampler, make_loader
from data.detection import DetectionDataset
from data.images import read_image
from detector.config import Config
from detector.evaluation.charts import precision_recall
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.run import LOWEST_SCORE, OVERLAP
from detector.inference.detections import Detections, to_labels
from detector.inference.drawing import draw
from detector.inference.pytorch import TorchBackend
from detector.network.model import DetectionModel
from system.charts import finished
from training.distributed import World
from training.task import Validation

SHOWN_SCORE = 0.25
BATCH = 8
PICTURES = 3  # frames shown in TensorBoard


def validate(
    network: DetectionModel, dataset: DetectionDataset, config: Config, precision: str, world: World
) -> Validation:
    """Every rank predicts its share of the frames; all get the same numbers, the main one the pictures too."""
    classes = dataset.class_set.names
    device = world.device or torch.device("cpu")
    backend = TorchBackend(network, classes, config.data.resize, config.size, device, precision)
    shares = world.gather(_predict(backend, dataset, config, world))
    everything = {frame: found for share in shares for frame, found in share.items()}

    def score_all() -> Evaluation:
        ground_truth = {frame: dataset.annotations(frame) for frame in dataset.frames}
        results = {frame: to_labels(everything[frame], classes) for frame in dataset.frames}
        return evaluate(ground_truth, results, classes)

    evaluation = world.main_does(score_all)
    metrics = flat_metrics(evaluation.to_json())
    best = config.train.best
    score = metrics.get(best if best in ("mAP50", "AP") else f"AP40_{best}_moderate", 0.0)
    if not world.is_main:
        return Validation(score, metrics, _line(metrics))
    pictures = [_picture(dataset, frame, everything[frame], classes) for frame in dataset.frames[:PICTURES]]
    figures = {"precision_recall": finished(precision_recall(evaluation.kitti))}
    return Validation(score, metrics, _line(metrics), pictures, figures)


def flat_metrics(report: dict[str, Any]) -> dict[str, float]:
    """mAP50, AP, both of masks where there are any, and AP40 of every KITTI class and difficulty that has objects, as
    one row."""
    metrics = {"mAP50": report["mAP50"], "AP": report["coco"]["stats"]["AP"]}
    if masks := report.get("coco_masks"):
        metrics |= {"mask_AP50": masks["stats"]["AP50"], "mask_AP": masks["stats"]["AP"]}
    for name, levels in report["kitti"].items():
        metrics |= {f"AP40_{name}_{level}": cell["AP40"] for level, cell in levels.items() if cell["n_gt"]}
    return metrics


def _predict(backend: TorchBackend, dataset: DetectionDataset, config: Config, world: World) -> dict[str, Detections]:
    """What the network finds in this rank's share of the frames, read as for training."""
    sampler = BatchSampler(
        *(len(dataset), BATCH, config.size), shuffle=False, drop_last=False, rank=world.rank, world=world.size
    )
    found: dict[str, Detections] = {}
    loader = make_loader(dataset, sampler, policy=config.data.resize, workers=config.data.workers)
    silent = None if world.is_main else True  # None: where nobody watches
    for batch in tqdm(loader, "validate", sampler.batches_per_epoch, leave=False, disable=silent, dynamic_ncols=True):
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
    """mAP50, AP, those of masks, and AP40 easy/moderate/hard of each class that has it."""
    names = dict.fromkeys(key.split("_", 1)[1].rsplit("_", 1)[0] for key in metrics if key.startswith("AP40_"))
    shown = [f"mAP50 {metrics['mAP50']:.3f}  AP {metrics['AP']:.3f}"]
    if "mask_AP" in metrics:
        shown.append(f"masks AP50 {metrics['mask_AP50']:.3f}  AP {metrics['mask_AP']:.3f}")
    if names:
        shown.append("AP40")
    for name in names:
        values = [metrics.get(f"AP40_{name}_{level}") for level in ("easy", "moderate", "hard")]
        shown.append(f"{name} " + "/".join("-" if value is None else f"{value:.1f}" for value in values))
    return "  ".join(shown)
