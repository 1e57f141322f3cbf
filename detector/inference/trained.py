"""A trained detector, and what its checkpoint says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backbones.pixels import MEAN, STD
from data.annotation import check_class_names
from detector.config import Config
from detector.inference.card import check_size
from detector.inference.weights import PUBLISHED, SHIPPED
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from detector.network.torchvision.published import read_published
from system.command import door
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, understanding
from training.trained import TrainedNetwork

SHORTER_SIDE = 800  # px of torchvision's inputs


@dataclass(frozen=True)
class Trained(TrainedNetwork[Config, DetectionModel]):
    """A detector."""

    def fresh(self) -> DetectionModel:
        return build_detector(self.config.network, len(self.classes), self.config.loss)

    def about(self) -> dict[str, Any]:
        return about(self.config, self.classes)


def about(config: Config, classes: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says in plain values, so that its reader needs no code of ours."""
    network = config.network
    return {
        "network": network.kind,
        "classes": list(classes),
        **({"anchors": [list(pair) for pair in network.anchor_sizes]} if network.has_anchors else {}),
        "resize": {"policy": config.data.resize, "size": list(config.size)},
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
    }


def load_trained(path: str | Path) -> Trained:
    """A file of ours or of torchvision's (.pth), or a shipped model by its name. Raises CheckpointError for a file that
    is no checkpoint of a detector."""
    if Path(path).suffix == PUBLISHED:
        return _load_published(Path(path))
    shipped = SHIPPED.get(str(path))
    trained = trained_of(load_checkpoint(shipped.path() if shipped else path), path)
    return replace(trained, config=trained.config.at_size(shipped.size)) if shipped else trained


def trained_of(checkpoint: Checkpoint, path: str | Path) -> Trained:
    """What was read from `path`. Raises CheckpointError where it is no detector's."""
    if checkpoint.task != "detection":
        mend = f"{door('evaluate')} --weights {path} --data ROOT scores it"
        raise CheckpointError(f"{path}: of the task {checkpoint.task!r}, which finds no objects; {mend}")
    with understanding(path):
        config = Config.restore(checkpoint.config, where=f"{path}: config")
        check_size(config.size)
        classes = check_class_names(checkpoint.about["classes"], "classes")
        return Trained(config, classes, checkpoint.model, str(path))


def _load_published(path: Path) -> Trained:
    """A state dict of torchvision's: at torchvision's size, which the dict does not say."""
    published = read_published(path)
    with understanding(path):
        classes = check_class_names(published.classes, "classes")
        config = Config.parse(
            {
                "name": path.stem,
                "data": {"classes": classes, "resize": "shorter"},
                "network": published.network.model_dump(),
                "phases": [{"size": SHORTER_SIDE}],
            },
            where=str(path),
        )
        return Trained(config, classes, published.weights, str(path))
