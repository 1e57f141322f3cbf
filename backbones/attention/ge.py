"""Gather-Excite. Hu et al.: "Gather-Excite: Exploiting Feature Context in CNNs", NeurIPS 2018, arXiv:1810.12348.

y = x ⊗ sigmoid(up(excite(gather(x)))): `gather` summarises windows of `extent` positions, or the whole map, for each
channel alone; `up` repeats each summary over its window (source row ⌊i · h / H⌋).

    ge-minus    gather: average pooling, kernel 2e - 1, stride e, cells outside the map not counted; no parameters
    ge-theta    gather: log2(e) depth-wise 3x3 convolutions of stride 2, BatchNorm after each, ReLU between them
                global: one depth-wise convolution as large as the map, BatchNorm
    ge-plus     ge-theta, then ReLU, 1x1 to C/16, ReLU, 1x1 to C

The authors' networks have the global extent alone; the windows are read from the paper as timm's code does. That code
has no ReLU before the first 1x1 of ge-plus; the authors' networks have it, and so it is here.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.gate import Taps, reduced
from backbones.attention.mean import MapMean
from backbones.attention.norm import VectorBatchNorm
from backbones.attention.place import Place

Extent = Literal["global", "2", "4", "8"]


class GatherExcite(nn.Module):
    """The gate of what `gather` gives: [B, C, 1, 1], or a smaller map [B, C, h, w]."""

    def __init__(self, gather: nn.Module) -> None:
        super().__init__()
        self.gather = gather

    def excite(self, gathered: Tensor) -> Tensor:
        return gathered

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        gate = torch.sigmoid(self.excite(self.gather(residual))).to(residual.dtype)
        if gate.shape[2:] != (1, 1):
            gate = repeated(gate, residual.shape[2], residual.shape[3])
        return torch.addcmul(shortcut, residual, gate)


class GatherExciteMinus(GatherExcite):
    """Windows averaged; no parameters."""

    def __init__(self, place: Place, *, extent: Extent = "global") -> None:
        super().__init__(MapMean() if extent == "global" else window_mean(int(extent)))


class GatherExciteTheta(GatherExcite):
    """Windows, or the whole map, summed with learned weights."""

    def __init__(self, place: Place, *, extent: Extent = "global") -> None:
        if extent == "global":
            super().__init__(GlobalGather(place.channels, place.side, "ge-theta and ge-plus"))
        else:
            super().__init__(strided(place.channels, int(extent)))


class GatherExcitePlus(GatherExciteTheta):
    """The learned summaries mixed across channels by two 1x1 convolutions."""

    def __init__(self, place: Place, *, extent: Extent = "global", reduction: int = 16) -> None:
        super().__init__(place, extent=extent)
        hidden = reduced(place.channels, reduction)
        self.down, self.up = pointwise(place.channels, hidden), pointwise(hidden, place.channels)

    def excite(self, gathered: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(torch.relu(gathered))))


class GlobalGather(nn.Module):
    """[B, C, H, W] -> BN(Σ_hw w_c[h, w] · x_c[h, w]) [B, C, 1, 1], the kernel being the D x D map of a 224-pixel image.

    A map of another size is averaged to D x D first, so that any image works; the publication has the one size.
    """

    def __init__(self, channels: int, side: int, attention: str) -> None:
        super().__init__()
        self.side = side
        self.resize = nn.AdaptiveAvgPool2d(side)
        self.conv = he(WholeMapConvolution(channels, channels, side, groups=channels, bias=False))
        self.norm = VectorBatchNorm(channels, attention)

    def forward(self, x: Tensor) -> Tensor:
        whole = x if x.shape[2:] == (self.side, self.side) else self.resize(x)
        return self.norm(self.conv(whole).flatten(1))[:, :, None, None]


class WholeMapConvolution(nn.Conv2d):
    """A depth-wise convolution as large as its map, as the product and sum that it is.

    On a CPU thread that takes half the time of the general convolution, and with the backward pass a seventh or less.
    """

    def forward(self, x: Tensor) -> Tensor:  # [B, C, D, D] -> [B, C, 1, 1]
        return (x * self.weight[:, 0].to(x.dtype)).sum((2, 3), keepdim=True)


def repeated(gate: Tensor, height: int, width: int) -> Tensor:
    """[B, C, h, w] -> [B, C, height, width]: row i is row ⌊i · h / height⌋. A tenth of interpolate's time on a CPU."""
    rows = torch.arange(height, device=gate.device) * gate.shape[2] // height
    columns = torch.arange(width, device=gate.device) * gate.shape[3] // width
    return gate.index_select(3, columns).index_select(2, rows)


def window_mean(extent: int) -> nn.Module:
    return nn.AvgPool2d(2 * extent - 1, stride=extent, padding=extent - 1, count_include_pad=False)


def strided(channels: int, extent: int) -> nn.Sequential:
    """log2(extent) depth-wise convolutions, each half the size."""
    layers: list[nn.Module] = []
    while extent > 1:
        conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
        layers += [he(conv), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        extent //= 2
    return nn.Sequential(*layers[:-1])


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel_size=1)
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    return conv


def he(conv: nn.Conv2d) -> nn.Conv2d:
    """He's start, by what one output reads."""
    nn.init.kaiming_normal_(conv.weight)
    return conv
