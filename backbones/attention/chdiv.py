"""Channel diversification. Patel, Wang: "A Discriminative Channel Diversification Network for Image Classification",
Pattern Recognition Letters 2022."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.place import Place
from backbones.attention.products import channel_softmax


class ChannelRelation(nn.Module):
    """z_c = Σ_d w_d R[c, d] + w_C r_c + b, [B, C, H, W] -> [B, C]: C + 2 weights and no sigmoid.

    R = softmax of -XXᵀ over the first index, [C, C];  r = softmax over the channels of mean(x).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels + 1) * (2 / (channels + 1)) ** 0.5)  # He's start, fan out
        self.bias = nn.Parameter(torch.zeros(1))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Softmax(1))

    def forward(self, x: Tensor) -> Tensor:
        relation = channel_softmax(x, over=1)
        weight = self.weight.to(relation.dtype)
        return relation @ weight[:-1] + weight[-1] * self.squeeze(x) + self.bias


class ChannelDiversification(nn.Module):
    """y = ReLU(BN(3x3(x + x ⊗ z))), z the relation of each channel to the others.

    convolution     without it y = x + x ⊗ z: in ResNet-50 the 3x3, C to C with bias, has 37.7 million weights
    """

    def __init__(self, place: Place, *, convolution: bool = True) -> None:
        super().__init__()
        self.relation = ChannelRelation(place.channels)
        self.mix = mix(place.channels) if convolution else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]"""
        return self.mix(x * (1 + self.relation(x)).to(x.dtype)[:, :, None, None])


def mix(channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
