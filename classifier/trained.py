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
from training.checkpoint import CheckpointError, load_checkpoint
from training.config import ConfigError


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
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as fault:  # torch names every key, some on a line of its own
            first = next((line.strip() for line in str(fault).splitlines()[1:] if line.strip()), str(fault))
            mend = "the file is damaged, or its config is of another network; use it as it was saved"
            raise CheckpointError(f"{self.origin}: its weights do not fit ({first:.200}); {mend}") from None
        return network.eval()


def about(config: Config, classes: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says in plain values, so that its reader needs no code of ours."""
    return {
        "classes": list(classes),
        "input": {"crop": config.data.crop, "size": list(config.size)},
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
    }


def load_trained(path: str | Path) -> Trained:
    """Raises CheckpointError for a file that is no checkpoint of a classifier."""
    checkpoint = load_checkpoint(path)
    if checkpoint.task != "classification":
        raise CheckpointError(f"{path}: of the task {checkpoint.task!r}, expected a classifier's checkpoint")
    try:
        config = Config.restore(checkpoint.config, where=f"{path}: config")
        classes = check_class_names(checkpoint.about["classes"], "classes")
        return Trained(config, classes, checkpoint.model, str(path))
    except (ConfigError, KeyError) as fault:
        raise CheckpointError(f"{path}: written by a version that this one cannot read ({fault})") from None
    except (ValueError, TypeError) as fault:
        raise CheckpointError(f"{path}: damaged, or not ours ({fault!s:.200})") from None
