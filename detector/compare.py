"""Detectors by one recipe into one table, the paper's Table 7: python -m detector.compare configs/compare-kitti.yaml"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from detector.config import Config
from detector.evaluation.kitti_ap import MIN_OVERLAP
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import load_trained
from detector.network.profile import cost
from detector.task import DetectionTask
from training.compare import compare
from training.compare_table import Judge, Metrics
from training.comparison import command
from training.task import Task

LEVELS = ("easy", "moderate", "hard")


class DetectionJudge(Judge):
    """COCO's mAP50, and the mean moderate AP40 of KITTI's classes, which a rare class cannot sway as it does mAP50."""

    task: ClassVar[type[Task[Any]]] = DetectionTask
    against_fps: ClassVar[str] = "ap_against_fps"

    def is_metric(self, column: str) -> bool:
        return column.startswith(("mAP", "AP", "mask_AP"))

    def scores(self, metrics: Metrics) -> dict[str, list[float]]:
        scores = {"mAP50": [100 * value for value in metrics["mAP50"]]}
        present = [metrics[name] for name in (f"AP40_{name}_moderate" for name in MIN_OVERLAP) if name in metrics]
        if present:
            scores["mean AP40"] = [statistics.mean(values) for values in zip(*present, strict=True)]
        return scores

    def details(self, metrics: Metrics) -> dict[str, str]:
        """KITTI's APs of its classes, or COCO's over all IoUs."""
        of_kitti = _of_kitti(metrics)
        if of_kitti or "AP" not in metrics:
            return of_kitti
        masks = f"{100 * statistics.mean(metrics['mask_AP']):.1f}" if "mask_AP" in metrics else "-"
        return {"AP": f"{100 * statistics.mean(metrics['AP']):.1f}", "mask AP": masks}

    def cost(self, config: Config, checkpoint: Path) -> tuple[int, int]:
        trained = load_trained(checkpoint)  # its config says what the file may leave to the data
        spent = cost(trained.config.network, len(trained.classes), config.size)
        return spent.params, spent.macs

    def runner(self, checkpoint: Path) -> Callable[[], object]:
        trained = load_trained(checkpoint)
        config = trained.config
        policy = config.data.resize
        backend = TorchBackend(trained.build(), trained.classes, policy, config.size, precision="fp32")
        image = np.full((1, *backend.size, 3), 114, np.uint8)

        def run() -> None:
            backend.run(image)
            backend.wait()

        return run

    def caption(self, config: Config) -> str:
        data = config.data
        return (
            f"trained on {data.root} `{data.train_split}`, scored on `{data.val_split}` by COCO's mAP50 over all "
            "classes and KITTI's AP40, easy / moderate / hard, its mean that of the moderate ones,"
        )


def _of_kitti(metrics: Metrics) -> dict[str, str]:
    return {
        f"{name} AP40": " / ".join(
            f"{statistics.mean(metrics.get(f'AP40_{name}_{level}', [0.0])):.1f}" for level in LEVELS
        )
        for name in MIN_OVERLAP
        if f"AP40_{name}_moderate" in metrics
    }


if __name__ == "__main__":
    judges = {DetectionTask.name: DetectionJudge()}
    kinds, about = {DetectionTask.name: Config}, __doc__.splitlines()[0]
    work = partial(compare, judges)
    sys.exit(command(kinds, work, "python -m detector.compare", about, "configs/compare-kitti.yaml"))
