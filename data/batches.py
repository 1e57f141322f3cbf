"""Batches of one size each, chosen in the sampler, so that workers, ranks and resumed runs agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data.resize import Geometry


@dataclass(frozen=True, slots=True)
class Targets:
    """The objects of a whole batch, flat: row k belongs to image `image[k]` of the batch.

    boxes [n, 4] float32 x1 y1 x2 y2 in pixels of the network input, labels [n] int64, image [n] int64;
    ignore [m, 4] and ignore_image [m]: regions in which a prediction is neither right nor wrong.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    ignore: Tensor
    ignore_image: Tensor

    def to(self, device: torch.device | str) -> Targets:
        return Targets(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Batch:
    """images [B, 3, H, W] uint8 RGB, their targets, frame ids and the resize that made each of them."""

    images: Tensor
    targets: Targets
    ids: tuple[str, ...]
    geometries: tuple[Geometry, ...]
