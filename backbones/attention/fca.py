"""Frequency channel attention. Qin et al.: "FcaNet", ICCV 2021, arXiv:2012.11879."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbones.attention.se import SqueezeExcite

# (vertical, horizontal) frequency of the 16 bases that did best alone, best first, on the paper's 7 x 7 grid ("top16").
TOP_16 = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
)


class FrequencyAttention(SqueezeExcite):
    """Squeeze-and-Excitation whose squeeze is one 2D DCT coefficient per channel instead of the mean."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.squeeze = FrequencySqueeze(channels)


class FrequencySqueeze(nn.Module):
    """[B, C, H, W] -> [B, C]: Σ_hw x[h, w] · cos_v[h] · cos_h[w]; the 2D basis is a product, so never written out.

    The channels fall into 16 equal groups, group g looking at frequency TOP_16[g]. On maps whose sides are multiples of
    7 (as with 224-pixel images) this is the published module; other maps are read at the same frequencies as they are,
    where the published code first resamples them to the size they would have in a 224-pixel image.
    """

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        frequencies = torch.tensor(TOP_16, dtype=torch.float32).repeat_interleave(channels // len(TOP_16), dim=0)
        self.register_buffer("frequencies", frequencies, persistent=False)  # [C, 2]

    def forward(self, x: Tensor) -> Tensor:
        vertical = cosine(self.frequencies[:, 0], x.shape[2]).to(x.dtype)  # [C, H]
        horizontal = cosine(self.frequencies[:, 1], x.shape[3]).to(x.dtype)  # [C, W]
        rows = (x @ horizontal[:, :, None]).squeeze(3)  # [B, C, H]
        return (rows * vertical).sum(2)


def cosine(frequency: Tensor, size: int) -> Tensor:
    """[C] -> the orthonormal DCT-II vectors [C, size] of these frequencies, counted on a grid of 7."""
    position = torch.arange(size, dtype=torch.float32, device=frequency.device) + 0.5
    norm = torch.where(frequency == 0, 1.0, math.sqrt(2.0)) / math.sqrt(size)
    return torch.cos(math.pi / 7 * frequency[:, None] * position) * norm[:, None]
