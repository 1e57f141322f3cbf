"""What the loop, the backends, export and compare know of a detector. YOLOv3 is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from data.batches import Targets


class Candidates(NamedTuple):
    """What a network sees in one image: boxes [n, 4] xyxy px of its input, scores [n], labels [n], in any order.

    One box may come with several labels, and one object with many boxes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DetectionModel(nn.Module, ABC):
    """images [B, 3, H, W] uint8 RGB -> outputs, whose form only the model knows."""

    backbone: nn.Module
    num_classes: int
    exact: ClassVar[tuple[str, ...]] = ()  # buffers that stay float32 where the rest of the network is bf16

    @abstractmethod
    def forward(self, images: Tensor) -> Any: ...

    @abstractmethod
    def loss(self, outputs: Any, targets: Targets) -> dict[str, Tensor]:
        """Named scalars, "total" among them; targets are in px of the network input."""

    @abstractmethod
    def candidates(self, outputs: Any, conf: float) -> list[Candidates]:
        """What scores above `conf`, image by image; nothing is suppressed yet."""

    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """All of it as boxes [B, N, 4] and scores [B, N, K], in operations that an exported graph can hold."""
        raise ValueError(f"{type(self).__name__} cannot be exported; evaluate.py and detect.py run its .pt as it is")
