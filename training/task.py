"""What the loop asks of a task. Whoever answers it can be trained: resumed, averaged, spread over machines, drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import Self

from data.batches import BatchSampler
from training.config import RunConfig
from training.distributed import World


class Batch(Protocol):
    """images [B, 3, H, W] uint8, what they are called, and whatever the task's loss needs beside them."""

    @property
    def images(self) -> Tensor: ...
    @property
    def ids(self) -> tuple[str, ...]: ...
    def to(self, device: torch.device | str) -> Self: ...


@dataclass(frozen=True)
class Validation:
    """score chooses the best weights; metrics go to metrics.csv, line to the terminal, pictures [H, W, 3] and figures
    to TensorBoard. All ranks have the same numbers; pictures and figures are the main one's.
    """

    score: float
    metrics: dict[str, float]
    line: str
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture of a run's validations: its file name, and the scale of a metric in it (None: not shown)."""

    name: str
    scale: Callable[[str], float | None]


Config = TypeVar("Config", bound=RunConfig)


class Task(ABC, Generic[Config]):
    """One experiment of a task. `name` stands in its config and in its checkpoints."""

    name: ClassVar[str]
    config_type: ClassVar[type[RunConfig]]
    chart: ClassVar[Chart] = Chart("validation", lambda metric: 1.0)

    def __init__(self, config: Config) -> None:
        self.config = config

    def settle(self, before: Config | None) -> None:
        """Replaces what the config leaves to the data by what it is: in `before`, the config of the run that goes on,
        or in the training split. The run's config says it from then on."""

    @property
    @abstractmethod
    def train_count(self) -> int:
        """Images of the training split."""

    @abstractmethod
    def batches(self, sampler: BatchSampler, pin_memory: bool) -> Iterable[Any]:
        """The training batches that the sampler asks for, each time it is iterated; every one is a `Batch`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, with fresh weights: images [B, 3, H, W] uint8, and what else `inputs` gives in training, ->
        whatever `loss` understands."""

    def inputs(self, batch: Any) -> tuple[Any, ...]:
        """What the network is called with in training."""
        return (batch.images,)

    @abstractmethod
    def loss(self, network: nn.Module, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Scalars by name; "total" is minimised, the others are told."""

    @abstractmethod
    def example(self, count: int, size: tuple[int, int]) -> Batch:
        """A batch of `count` images of (height, width), made up: to find out whether it fits into memory."""

    @abstractmethod
    def validate(self, network: nn.Module, precision: str, world: World) -> Validation:
        """What the validation split says of the weights. Every rank takes its share."""

    def start(self, network: nn.Module) -> str:
        """Gives a new run its start, pretrained weights for example, and says so."""
        return ""

    def backbone(self, network: nn.Module) -> nn.Module:
        """The part that `train.freeze_stem` and `train.freeze_bn` are about; torchvision's names hold in it."""
        return network

    def about(self) -> dict[str, Any]:
        """Plain values that a checkpoint carries beside weights and config, for whoever reads it without our code."""
        return {}

    def describe(self) -> tuple[str, str]:
        """What is trained, and on what, in a few words each."""
        return self.config.name, f"{self.train_count} images"
