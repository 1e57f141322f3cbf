"""Split attention. Zhang et al.: "ResNeSt: Split-Attention Networks", CVPR Workshops 2022, arXiv:2004.08955."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import GlobalMean
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place
from backbones.attention.sk import mixed

RADIX = 2
NARROWEST = 32  # channels of the narrow layer, whatever the reduction


class SplitAttention(nn.Module):
    """A 3x3 convolution that gives two maps, and for every channel a share of each. Takes the place of a 3x3.

    u_1, u_2 = ReLU(BN(conv(x)))                        3x3, C -> 2p channels in 2 groups
    v   = ReLU(BN(W mean(u_1 + u_2) + b))               W [d, p], d = max(2 C / reduction, 32)
    a_1, a_2 = softmax over the two of V v + c          V [2p, d]
    y   = a_1 ⊗ u_1 + a_2 ⊗ u_2

    Radix 2, cardinality 1. ResNeSt moves a block's stride from here into an average pool, and has another stem; both
    are beside the attention, and left as in the ResNet.
    """

    def __init__(self, place: Place, *, reduction: int = 4) -> None:
        super().__init__()
        inputs, inner = place.inputs, place.inner
        hidden = max(NARROWEST, RADIX * inputs // reduction)
        conv = nn.Conv2d(inputs, RADIX * inner, 3, place.stride, padding=1, groups=RADIX, bias=False)
        self.split = nn.Sequential(conv, nn.BatchNorm2d(RADIX * inner), nn.ReLU(inplace=True))
        self.mean = GlobalMean()
        narrow, self.select = nn.Linear(inner, hidden), nn.Linear(hidden, RADIX * inner)
        self.reduce = nn.Sequential(narrow, VectorBatchNorm(hidden, "splat"), nn.ReLU(inplace=True))
        for layer in (conv, narrow, self.select):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        both = self.split(x)
        of_first, of_second = self.select(self.reduce(self.mean(both).unflatten(1, (RADIX, -1)).sum(1))).chunk(2, 1)
        first, second = both.chunk(RADIX, dim=1)
        return mixed(first, second, of_first - of_second)
