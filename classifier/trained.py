"""A trained classifier, and what its checkpoint says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.pixels import MEAN, STD
from classifier.config import Config
from classifier.network import Classifier, build_classifier
from data.annotation import check_class_names
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, understanding
from training.trained import TrainedNetwork


@dataclass(frozen=True)
class Trained(TrainedNetwork[Config, Classifier]):
    """A classifier."""

    def fresh(self) -> Classifier:
        return build_classifier(self.config.network, len(self.classes))

    def about(self) -> dict[str, Any]:
        return about(self.config, self.classes)


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
