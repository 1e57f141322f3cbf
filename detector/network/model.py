"""What the loop, the backends, export and compare know of a detector. YOLOv3 is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ClassRows:
    """How a weight holds its classes: `groups` times (`before` rows of no class, then a row a class)."""

    groups: int
    before: int

    def translate(self, own: Tensor, classes: Sequence[str], other: Tensor, classes_there: Sequence[str]) -> Tensor:
        """`other` in the order of `classes`; rows of a class that it lacks are `own`'s."""
        count = self.groups * (self.before + len(classes_there))
        if other.shape[0] != count or other.shape[1:] != own.shape[1:]:
            return other  # another kind of head: as it is, for the comparison of shapes to find
        here = own.unflatten(0, (self.groups, -1)).clone()
        grouped = other.to(own.dtype).unflatten(0, (self.groups, -1))
        here[:, : self.before] = grouped[:, : self.before]
        both = [name for name in classes if name in classes_there]
        here[:, [self.before + classes.index(name) for name in both]] = grouped[
            :, [self.before + classes_there.index(name) for name in both]
        ]
        return here.flatten(0, 1)


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

    def class_rows(self) -> dict[str, ClassRows]:
        """The weights that hold something of each class, by name: what a detector of other classes can take over."""
        return {}

    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """All of it as boxes [B, N, 4] and scores [B, N, K], in operations that an exported graph can hold."""
        raise ValueError(f"{type(self).__name__} cannot be exported; its .pt runs as it is")
