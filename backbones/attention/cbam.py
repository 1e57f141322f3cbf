"""Convolutional Block Attention Module. Woo et al.: "CBAM", ECCV 2018, arXiv:1807.06521."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import SigmoidGate, Taps, reduced
from backbones.attention.place import Place


class MeanAndPeak(nn.Module):
    """[B, C, H, W] -> [B, C, 2]: mean and largest value of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.average_pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((self.average_pool(x).flatten(1), x.amax((2, 3))), dim=2)


class MeanAndPeakMLP(nn.Sequential):
    """[B, C, 2] -> MLP(mean) + MLP(max), [B, C]: one MLP C -> C/r -> C with biases, used twice."""

    def __init__(self, channels: int, reduction: int) -> None:
        hidden = reduced(channels, reduction)
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))

    def forward(self, squeezed: Tensor) -> Tensor:
        return super().forward(squeezed.transpose(1, 2)).sum(1)


class MeanAndPeakGate(SigmoidGate):
    """CBAM's channel gate alone: sigmoid(MLP(mean(x)) + MLP(max(x)))."""

    make_squeeze = MeanAndPeak

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__(place)
        self.mlp = MeanAndPeakMLP(place.channels, reduction)

    def logits(self, squeezed: Tensor) -> Tensor:
        return self.mlp(squeezed)


class PositionScore(nn.Sequential):
    """CBAM's spatial logit: [B, C, H, W] -> BN(conv7x7([max over channels; mean over channels])), [B, 1, H, W]."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False), nn.BatchNorm2d(1, momentum=0.01))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1))


class ConvolutionalBlockAttention(nn.Module):
    """A channel gate, then a spatial gate.

    x' = x ⊗ sigmoid(MLP(mean(x)) + MLP(max(x)))                       one number per channel
    y  = x' ⊗ sigmoid(BN(conv7x7([max over channels; mean over channels of x'])))   one number per position
    """

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = MeanAndPeak()
        self.mlp = MeanAndPeakMLP(place.channels, reduction)
        self.spatial = PositionScore()

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        x = residual * torch.sigmoid(self.mlp(self.squeeze(residual)))[:, :, None, None]
        return torch.addcmul(shortcut, x, torch.sigmoid(self.spatial(x)))
