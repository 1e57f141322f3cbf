"""A trained detector, and what its checkpoint says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detector.config import Config
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from detector.network.yolov3.network import MEAN, STD
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from training.config import ConfigError


@dataclass(frozen=True, slots=True)
class Trained:
    """Settings, class names in the order of labels, and weights."""

    config: Config
    classes: tuple[str, ...]
    weights: Mapping[str, Tensor]

    def build(self) -> DetectionModel:
        """The network, ready for inference."""
        network = build_detector(self.config.network, len(self.classes), self.config.loss)
        network.load_state_dict(self.weights)
        return network.eval()

    def save(self, path: Path) -> None:
        """A checkpoint for use; training writes its own, with more in it."""
        config = self.config
        save_checkpoint(path, Checkpoint(config.task, config.plain(), self.weights, about(config, self.classes)))


def about(config: Config, classes: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says in plain values, so that its reader needs no code of ours."""
    return {
        "network": config.network.kind,
        "classes": list(classes),
        "anchors": [list(pair) for pair in config.network.anchors],
        "resize": {"policy": config.data.resize, "size": list(config.size)},
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
    }


def load_trained(path: str | Path) -> Trained:
    """Raises CheckpointError for a file that is no checkpoint of a detector."""
    checkpoint = load_checkpoint(path)
    if checkpoint.task != "detection":
        raise CheckpointError(f"{path}: a checkpoint of the task {checkpoint.task!r}, expected a detector's")
    try:
        config = Config.restore(checkpoint.config, where=f"{path}: config")
        return Trained(config, tuple(checkpoint.about["classes"]), checkpoint.model)
    except (ConfigError, KeyError) as fault:
        raise CheckpointError(f"{path}: written by a version that this one cannot read ({fault})") from None
