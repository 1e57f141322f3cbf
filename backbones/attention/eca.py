"""Efficient Channel Attention. Wang et al.: "ECA-Net", CVPR 2020, arXiv:1910.03151."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from backbones.attention.gate import SigmoidGate
from backbones.attention.place import Place


class EfficientChannelAttention(SigmoidGate):
    """z = sigmoid(conv1d_k(mean(x))) along the channels; no fully connected layer, k weights in all.

    kernel      k; `auto` grows with the channels, as published. The paper also tries 3, 5, 7 and 9 everywhere.
    """

    def __init__(self, place: Place, *, kernel: Literal["auto", "3", "5", "7", "9"] = "auto") -> None:
        super().__init__(place)
        k = kernel_size(place.channels) if kernel == "auto" else int(kernel)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def logits(self, squeezed: Tensor) -> Tensor:
        return self.conv(squeezed.unsqueeze(1)).squeeze(1)


def kernel_size(channels: int) -> int:
    """The odd kernel size that grows with the channels: t = int(|log2(C) + 1| / 2), k = t if t is odd, else t + 1."""
    t = int(abs(math.log2(channels) + 1) / 2)
    return t if t % 2 else t + 1
