"""A trained classifier, and what its checkpoint says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones.pixels import MEAN, STD
from classifier.config import Config
from classifier.network import Classifier, build_classifier
from data.annotation import check_class_names
from training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    understanding,
)


@dataclass(frozen=True, slots=True)
class Trained:
    """Settings, class names in the order of labels, and weights."""

    config: Config
    classes: tuple[str, ...]
    weights: Mapping[str, Tensor]
    origin: str

    def build(self) -> Classifier:
        """The network, ready for inference. Raises CheckpointError where the weights are not of that network."""
        network = build_classifier(self.config.network, len(self.classes))
        load_weights(network, self.weights, self.origin)
        return network.eval()

    def save(self, path: Path) -> None:
        """A checkpoint for use; training writes its own, with more in it."""
        config = self.config
        save_checkpoint(path, Checkpoint(config.task, config.plain(), self.weights, about(config, self.classes)))


def about(config: Config, classes: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says in plain values, so that its reader needs no code of ours."""
    return {
        "classes": list(classes),
        "input": {"crop": config.data.crop, "size": list(config.size)},
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
    }


def load_trained(path: str | Path) -> Trained:
    """Raises CheckpointError for a file that is no checkpoint of a classifier."""
    return trained_of(load_checkpoint(path), path)


def trained_of(checkpoint: Checkpoint, path: str | Path) -> Trained:
    """What was read from `path`. Raises CheckpointError where it is no classifier's."""
    if checkpoint.task != "classification":
        raise CheckpointError(f"{path}: of the task {checkpoint.task!r}, expected a classifier's checkpoint")
    with understanding(path):
        config = Config.restore(checkpoint.config, where=f"{path}: config")
        classes = check_class_names(checkpoint.about["classes"], "classes")
        return Trained(config, classes, checkpoint.model, str(path))
