"""Global-and-local attention. Linsley et al.: "Learning what and where to attend", ICLR 2019, arXiv:1805.08819."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, reduced
from backbones.attention.place import Place

Form = Literal["paper", "code"]


class GlobalAndLocal(nn.Module):
    """y = x ⊗ tanh(H),  H = α_c (g_c + s) + β_c g_c s: a channel vector g [B, C] and a position map s [B, 1, H, W].

    g = W2 ReLU(W1 mean(x)), C to C/r to C;  s = 1x1 C to C/r, ReLU, 5x5, ReLU, 1x1 to 1; all with biases; r is
    `reduction`. With one number s a position, H = α g + (α + β g) s: two numbers a channel, one pass over the map.

    form    paper: tanh. code: sigmoid, and a ReLU behind W2, as the published code has it.
    norm    a BatchNorm on s, which the published code has but switches off in every network it builds
    """

    def __init__(self, place: Place, *, reduction: int = 4, form: Form = "paper", norm: bool = False) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.channel = nn.Sequential(
            GlobalMean(), nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )
        self.spatial = nn.Sequential(
            *(nn.Conv2d(channels, hidden, kernel_size=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(hidden, hidden, kernel_size=5, padding=2), nn.ReLU(inplace=True)),
            nn.Conv2d(hidden, 1, kernel_size=1),
        )
        self.alpha, self.beta = nn.Parameter(torch.randn(channels)), nn.Parameter(torch.randn(channels))
        if form == "code":
            self.channel.append(nn.ReLU(inplace=True))
        self.squash = nn.Tanh() if form == "paper" else nn.Sigmoid()
        if norm:
            self.spatial.append(nn.BatchNorm2d(1))
        self.apply(start)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        g, s = self.channel(residual), self.spatial(residual)
        shift, slope = ((m.to(s.dtype)[:, :, None, None]) for m in (self.alpha * g, self.alpha + self.beta * g))
        return torch.addcmul(shortcut, residual, self.squash(torch.addcmul(shift, slope, s)).to(residual.dtype))


@torch.no_grad()
def start(layer: nn.Module) -> None:
    """As published: truncated normal of variance 1 / fan-in for convolutions, Xavier for matrices, zero for biases."""
    if isinstance(layer, nn.Conv2d):
        deviation = layer.weight[0].numel() ** -0.5 / 0.87962566  # what cutting at two deviations leaves of one
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
    if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
