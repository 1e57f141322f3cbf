"""One channel gate and one spatial gate of other modules, joined in one of three ways. No publication of its own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.cbam import MeanAndPeakGate
from backbones.attention.eca import EfficientChannelAttention
from backbones.attention.fca import FrequencyAttention
from backbones.attention.gate import SigmoidGate, Taps
from backbones.attention.place import Place
from backbones.attention.se import SqueezeExcite
from backbones.attention.spatial import Spatial, spatial_score
from backbones.attention.srm import StyleRecalibration

CHANNEL: dict[str, type[SigmoidGate]] = {
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
    "srm": StyleRecalibration,
    "fca": FrequencyAttention,
    "cbam": MeanAndPeakGate,
}


class Hybrid(nn.Module):
    """c(x) [B, C, 1, 1] is the channel logit, s(x) [B, 1, H, W] the spatial logit, σ the sigmoid.

    order       sequential: u = x ⊗ σ(c(x)), y = u ⊗ σ(s(u)), as CBAM joins its own two
                parallel:   y = x ⊗ (1 + σ(c(x) ⊗ s(x))), as BAM does
                max:        y = max(x ⊗ σ(c(x)), x ⊗ σ(s(x))) element by element, as scSE does

    The parts start as they do alone.
    """

    def __init__(
        self,
        place: Place,
        *,
        channel: Literal["se", "eca", "srm", "fca", "cbam"] = "eca",
        spatial: Spatial = "cbam",
        order: Literal["sequential", "parallel", "max"] = "sequential",
    ) -> None:
        super().__init__()
        self.channel = CHANNEL[channel](place)
        self.spatial = spatial_score(spatial, place)
        self.order = order

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        logits = self.channel.logits(self.channel.squeeze(residual))
        of_channel = logits.to(residual.dtype)[:, :, None, None]
        if self.order == "sequential":
            scaled = residual * torch.sigmoid(of_channel)
            return torch.addcmul(shortcut, scaled, torch.sigmoid(self.spatial(scaled)))
        of_position = self.spatial(residual)
        if self.order == "parallel":
            return torch.addcmul(shortcut + residual, residual, torch.sigmoid(of_channel * of_position))
        return shortcut + torch.maximum(residual * torch.sigmoid(of_channel), residual * torch.sigmoid(of_position))
