"""Double attention. Chen et al.: "A²-Nets: Double Attention Networks", NeurIPS 2018, arXiv:1810.11579."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import reduced
from backbones.attention.place import Place

BLOCKS_OF_STAGE = {2: 2, 3: 3}


class DoubleAttention(nn.Module):
    """y = x + W G softmax_n(V(x)),  G = A(x) softmax_p(B(x))ᵀ: gather to n descriptors, then distribute them.

    A: 1x1 from C to m, B, V: 1x1 from C to n, W: 1x1 from m to C, all with biases; m = n = C/r, r is `reduction`.
    B is a softmax over the positions p (n ways to gather, G [m, n]), V over the n descriptors at each position. Copies
    of this module that are around take V's softmax over the positions, which is another function.
    W starts at zero, so that the network starts as the plain ResNet: the paper names no start, and there is no code.
    The largest matrices are maps of m and n channels: nothing grows with the square of the positions.
    """

    def __init__(self, place: Place, *, reduction: int = 2) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.features, self.gather, self.spread = (nn.Conv2d(channels, hidden, kernel_size=1) for _ in range(3))
        self.out = nn.Conv2d(hidden, channels, kernel_size=1)
        for weight in self.out.parameters():
            nn.init.zeros_(weight)

    def attend(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> Z = G softmax_n(V), [B, m, H, W]"""
        features = self.features(x).flatten(2)  # [B, m, HW]
        gather = self.gather(x).flatten(2).softmax(2).to(features.dtype)  # [B, n, HW]
        spread = self.spread(x).flatten(2).softmax(1).to(features.dtype)  # [B, n, HW]
        return (features @ gather.transpose(1, 2) @ spread).unflatten(2, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]"""
        return x + self.out(self.attend(x))


def is_seat_of_a2(place: Place) -> bool:
    """2 blocks of stage 2 and 3 of stage 3, evenly spread, the last possible ones first: 2, 4 and 2, 4, 6 of ResNet-50.
    A stage with fewer blocks has one after each."""
    count = BLOCKS_OF_STAGE.get(place.stage)
    return count is not None and place.block % max(place.depths[place.stage - 1] // count, 1) == 0
