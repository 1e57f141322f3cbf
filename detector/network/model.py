"""What the loop, the backends, export and compare know of a detector. YOLOv3 is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from backbones.pixels import MEAN, STD
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
    """How a weight holds its classes: `groups` times (`before` places of no class, then a place a class), each place
    `rows` rows."""

    groups: int = 1
    before: int = 0
    rows: int = 1

    def translate(self, own: Tensor, classes: Sequence[str], other: Tensor, classes_there: Sequence[str]) -> Tensor:
        """`other` in the order of `classes`; rows of a class that it lacks are `own`'s."""
        count = self.groups * (self.before + len(classes_there)) * self.rows
        if other.shape[0] != count or other.shape[1:] != own.shape[1:]:
            return other  # another kind of head: as it is, for the comparison of shapes to find
        here = own.unflatten(0, (self.groups, -1, self.rows)).clone()
        grouped = other.to(own.dtype).unflatten(0, (self.groups, -1, self.rows))
        here[:, : self.before] = grouped[:, : self.before]
        both = [name for name in classes if name in classes_there]
        here[:, [self.before + classes.index(name) for name in both]] = grouped[
            :, [self.before + classes_there.index(name) for name in both]
        ]
        return here.flatten(0, 2)


class DetectionModel(nn.Module, ABC):
    """images [B, 3, H, W] RGB 0..255, uint8 or float, H and W multiples of 32 -> outputs of a form that only it knows.

    exact       buffers that stay float32 where the rest of the network is bf16
    cast_whole  all weights but these can be cast to bf16 at once; else autocast chooses layer by layer
    averages    what suppression takes for one object becomes the average of its boxes; else its best box
    draws       it has `shapes`
    """

    backbone: nn.Module
    num_classes: int
    mean: Tensor
    std: Tensor
    exact: ClassVar[tuple[str, ...]] = ("mean", "std")
    cast_whole: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes: {num_classes}; a detector needs at least 1 class")
        self.num_classes = num_classes
        # Derived from constants, so not part of a checkpoint.
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def forward(self, images: Tensor, targets: Targets | None = None) -> Any:
        """In training with the targets of the images, as some networks choose by them what they look at."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Targets) -> dict[str, Tensor]:
        """Named scalars, "total" among them; targets are in px of the network input."""

    @abstractmethod
    def candidates(self, outputs: Any, conf: float) -> list[Candidates]:
        """What scores above `conf`, image by image; nothing is suppressed yet."""

    def shapes(self, outputs: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        """The masks of objects, image by image: probabilities [n, M, M], each to be stretched over its box [n, 4] (px
        of the input)."""
        raise NotImplementedError(f"{type(self).__name__} finds boxes only")

    def class_rows(self) -> dict[str, ClassRows]:
        """The weights that hold something of each class, by name: what a detector of other classes can take over."""
        return {}

    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """All of it as boxes [B, N, 4] and scores [B, N, K], in operations that an exported graph can hold."""
        raise ValueError(f"{type(self).__name__} cannot be exported; its .pt runs as it is")

    def layers(self, images: Tensor) -> Any:
        """Every layer at work as often as for any image, whatever is in it: to count operations, on no device too."""
        return self(images)

    def normalised(self, images: Tensor) -> Tensor:
        """As the backbones want them. Raises ValueError for sides that are no multiples of 32."""
        if images.dim() != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(
                f"network input {list(images.shape)}: need [batch, 3, height, width], sides multiples of 32"
            )
        return images.to(self.mean.dtype).sub(self.mean).div_(self.std)
