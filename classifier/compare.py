"""Classifiers by one recipe into one table, the paper's Tables 2 to 5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch

from backbones.counting import count_macs, count_params
from classifier.config import Config
from classifier.network import build_classifier
from classifier.task import ClassificationTask
from classifier.trained import load_trained
from training.compare_table import Judge, Metrics
from training.precision import pick_device
from training.task import Task


class ClassificationJudge(Judge):
    """Top-1 and top-5."""

    task: ClassVar[type[Task[Any]]] = ClassificationTask
    against_fps: ClassVar[str] = "accuracy_against_fps"

    def is_metric(self, column: str) -> bool:
        return column in ("top1", "top5")

    def scores(self, metrics: Metrics) -> dict[str, list[float]]:
        return {"top-1": list(metrics["top1"]), "top-5": list(metrics["top5"])}

    def cost(self, config: Config, checkpoint: Path) -> tuple[int, int]:
        with torch.device("meta"):  # shapes only
            network = build_classifier(config.network, len(load_trained(checkpoint).classes)).backbone
        return count_params(network), count_macs(network, config.size)

    def runner(self, checkpoint: Path) -> Callable[[], object]:
        trained = load_trained(checkpoint)
        device = pick_device(trained.config.train.device)
        network = trained.build().to(device).to(memory_format=torch.channels_last)
        image = torch.full((1, 3, *trained.config.size), 114, dtype=torch.uint8, device=device)

        @torch.inference_mode()
        def run() -> None:
            network(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    def caption(self, config: Config) -> str:
        data = config.data
        return f"trained on {data.root} `{data.train_split}`, {config.network.stem} stem, scored on `{data.val_split}`"
