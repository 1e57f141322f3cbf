"""Dual attention. Fu et al.: "Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv:1809.02983."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import reduced
from backbones.attention.place import Place
from backbones.attention.products import attend_positions, channel_softmax


class DualAttention(nn.Module):
    """y = x + γ_p · position(x) + γ_c · channel(x), both γ zero at the start: the network starts as the plain ResNet.

    position(x)_i = Σ_j softmax_j(q_i · k_j) v_j     q, k: 1x1 to C/r; v: 1x1 to C; positions i, j; r is `reduction`
    channel(x)    = softmax(-XXᵀ) X                  X [C, HW], softmax over the last index

    The published head adds the two modules, each with its own x, and so gives 2x at the start; it reads maps of C/4
    channels that come from a 3x3 convolution for each module. Here both read the map itself.
    Beside maps an image needs at most two matrices of HW x HW numbers (196 x 196 at 448 pixels, 150 KB) and then two of
    C x C, in float32.
    """

    def __init__(self, place: Place, *, reduction: int = 8) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.query = nn.Conv2d(channels, hidden, kernel_size=1)
        self.key = nn.Conv2d(channels, hidden, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.position_scale = nn.Parameter(torch.zeros(1))
        self.channel_scale = nn.Parameter(torch.zeros(1))

    def position(self, x: Tensor) -> Tensor:
        return attend_positions(self.query(x), self.key(x), self.value(x), scale=1.0)

    def channel(self, x: Tensor) -> Tensor:
        return (channel_softmax(x, over=2).to(x.dtype) @ x.flatten(2)).unflatten(2, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]"""
        y = torch.addcmul(x, self.position(x).to(x.dtype), self.position_scale.to(x.dtype))
        return torch.addcmul(y, self.channel(x).to(x.dtype), self.channel_scale.to(x.dtype))
