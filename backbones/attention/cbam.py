"""Convolutional Block Attention Module. Woo et al.: "CBAM", ECCV 2018, arXiv:1807.06521."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import Taps, reduced
from backbones.attention.place import Place


class ConvolutionalBlockAttention(nn.Module):
    """A channel gate, then a spatial gate.

    x' = x ⊗ sigmoid(MLP(mean(x)) + MLP(max(x)))                       one number per channel
    y  = x' ⊗ sigmoid(BN(conv7x7([max over channels; mean over channels of x'])))   one number per position
    """

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = reduced(place.channels, reduction)
        self.average_pool = nn.AdaptiveAvgPool2d(1)
        self.mlp = nn.Sequential(
            nn.Linear(place.channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, place.channels),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False),
            nn.BatchNorm2d(1, momentum=0.01),
            nn.Sigmoid(),
        )

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        average = self.mlp(self.average_pool(residual).flatten(1))
        peak = self.mlp(residual.amax((2, 3)))
        x = residual * torch.sigmoid(average + peak)[:, :, None, None]
        summary = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1)  # [B, 2, H, W]
        return torch.addcmul(shortcut, x, self.spatial(summary))
