"""A trained network of any task, as a checkpoint holds it for use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from training.checkpoint import Checkpoint, load_weights, save_checkpoint
from training.config import RunConfig

Config = TypeVar("Config", bound=RunConfig)
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class TrainedNetwork(ABC, Generic[Config, Network]):
    """Settings, class names in the order of labels, and weights. A task says what network that is."""

    config: Config
    classes: tuple[str, ...]
    weights: Mapping[str, Tensor]
    origin: str = "checkpoint"  # for messages

    @abstractmethod
    def fresh(self) -> Network:
        """The network of these settings, with whatever weights."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What its checkpoint says in plain values, so that a reader needs no code of ours."""

    def build(self) -> Network:
        """The network, ready for inference. Raises CheckpointError where the weights are not of that network."""
        network = self.fresh()
        load_weights(network, self.weights, self.origin)
        return network.eval()

    def save(self, path: Path) -> None:
        """A checkpoint for use; training writes its own, with more in it."""
        save_checkpoint(path, Checkpoint(self.config.task, self.config.plain(), self.weights, self.about()))
