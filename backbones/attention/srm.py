"""Style-based Recalibration Module. Lee, Kim, Nam: "SRM", ICCV 2019, arXiv:1903.10829."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import SigmoidGate
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place


class MeanAndStd(nn.Module):
    """[B, C, H, W] -> [B, C, 2]: mean and sqrt(unbiased variance + 1e-5) of each channel, in float32 or wider.

    Tensor.std takes an unvectorised path on CPU, 10 to 20 times the time of these two passes. The short cut
    mean(x²) - mean(x)² would be faster still, but cancels to noise when |mean| >> std, so the map is centred first.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # 8 bits of a bfloat16 mantissa are few for a variance
        mean = x.mean((2, 3), keepdim=True)
        # A map of one pixel has no variance: 0 / 1 rather than the unbiased 0 / 0.
        degrees_of_freedom = max(x.shape[2] * x.shape[3] - 1, 1)
        variance = (x - mean).square().sum((2, 3)) / degrees_of_freedom
        return torch.stack((mean.flatten(1), torch.sqrt(variance + 1e-5)), dim=2)


class StyleRecalibration(SigmoidGate):
    """z = sigmoid(BN(Σ_s cfc[c, s] · style[c, s])), the style of a channel being its (mean, standard deviation)."""

    make_squeeze = MeanAndStd

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.cfc = nn.Parameter(torch.zeros(place.channels, 2))  # zero as published: every gate starts at 1/2
        self.bn = VectorBatchNorm(place.channels, "SRM")

    def logits(self, squeezed: Tensor) -> Tensor:
        style = (squeezed * self.cfc).sum(2)
        return self.bn(style.to(self.bn.weight.dtype))  # squeezed is float32 also in a bfloat16 network
