"""Bridge Attention. Zhao et al.: "BA-Net: Bridge Attention for Deep Convolutional Neural Networks", ECCV 2022,
arXiv:2112.04150."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, add_scaled, reduced
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place


class BridgeAttention(nn.Module):
    """z = sigmoid(V ReLU(BN(W F) + Σ_j BN_j(W_j F_j))), without biases.

    F [B, C] is the mean of the residual branch, F_j [B, inner] that of each earlier convolution of the block after its
    BatchNorm and ReLU: one in a basic block, two in a bottleneck. All are led to C/r numbers; r is `reduction`.
    """

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.squeeze = GlobalMean()
        self.bridges = nn.ModuleList(bridge(place.inner, hidden) for _ in range(2 if place.is_bottleneck else 1))
        self.own = bridge(channels, hidden)
        self.gate = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(hidden, channels, bias=False), nn.Sigmoid())

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        fused = self.own(self.squeeze(residual))
        for lead, mean in zip(self.bridges, taps, strict=True):
            fused = fused + lead(mean)
        taps.clear()
        return add_scaled(shortcut, residual, self.gate(fused))


def bridge(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden, bias=False), VectorBatchNorm(hidden, "BA-Net"))
