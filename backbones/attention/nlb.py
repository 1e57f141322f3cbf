"""Non-local block. Wang et al.: "Non-local Neural Networks", CVPR 2018, arXiv:1711.07971 (embedded Gaussian)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from backbones.attention.gate import reduced
from backbones.attention.place import Place
from backbones.attention.products import attend_positions

Blocks = Literal["one", "all"]


class NonLocalBlock(nn.Module):
    """y_i = x_i + W Σ_j softmax_j(θ(x)_i · φ(x)_j) g(x)_j over the positions j.

    θ, φ, g: 1x1 from C to C/2; W: 1x1 back to C; all with biases. W starts at zero (with `norm` its BatchNorm), so that
    the network starts as the plain ResNet; the others start from N(0, 0.01).
    No HW x HW matrix is kept (attend_positions): the peak beside x is θ, φ, g and what they give, four maps of C/2
    channels, and copies of the first three where x is not channels_last.

    norm        a BatchNorm behind W
    scaled      the products divided by sqrt(C/2), as the authors' code has it by default; the paper has no such factor.
                That code also halves the maps of φ and g by a max-pool, which is not done here.
    """

    def __init__(self, place: Place, norm: bool, scaled: bool) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, 2)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, hidden, kernel_size=1) for _ in range(3))
        last = nn.Conv2d(hidden, channels, kernel_size=1)
        for conv in (self.theta, self.phi, self.g, last):
            nn.init.normal_(conv.weight, std=0.01)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        batch_norm = (nn.BatchNorm2d(channels),) if norm else ()
        self.out = nn.Sequential(last, *batch_norm)
        nn.init.zeros_((*batch_norm, last)[0].weight)
        self.scale = hidden**-0.5 if scaled else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]"""
        return x + self.out(attend_positions(self.theta(x), self.phi(x), self.g(x), self.scale))


def non_local(
    place: Place, *, blocks: Blocks = "one", norm: bool = False, scaled: bool = False
) -> NonLocalBlock | None:
    """`blocks`: after the second-to-last block of stage 3 alone, as published, or after every block."""
    is_seat = blocks == "all" or (place.stage == 3 and place.block == place.depths[2] - 1)
    return NonLocalBlock(place, norm, scaled) if is_seat else None
