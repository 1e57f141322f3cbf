"""Frequency channel attention. Qin et al.: "FcaNet", ICCV 2021, arXiv:2012.11879."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.place import Place
from backbones.attention.se import SqueezeExcite

Frequencies = Literal["top16", "low16"]

# (vertical, horizontal) frequencies on the paper's 7 x 7 grid, one for each of 16 equal groups of channels.
GRID = 7
GROUPS: dict[Frequencies, tuple[tuple[int, int], ...]] = {
    "top16": (  # those that did best alone, best first
        *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
        *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
    ),
    "low16": (  # the lowest, outwards from the mean
        *((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1), (1, 2)),
        *((2, 2), (0, 3), (3, 0), (4, 0), (0, 4), (1, 3), (3, 1), (0, 5)),
    ),
}


class FrequencyAttention(SqueezeExcite):
    """Squeeze-and-Excitation whose squeeze is one 2D DCT coefficient per channel instead of the mean.

    frequencies     which 16: those that did best alone, or the lowest
    """

    def __init__(self, place: Place, *, frequencies: Frequencies = "top16") -> None:
        super().__init__(place)
        self.squeeze = FrequencySqueeze(place.channels, place.side, frequencies)


class FrequencySqueeze(nn.Module):
    """[B, C, H, W] -> [B, C]: one coefficient of the D x D DCT of each channel, D being the map's side at 224 pixels.

    The published module first averages a map of another size to D x D cells. Averaging and cosines are both linear and
    both products of a vertical and a horizontal part, so they are one vector a side here:
    y_c = Σ_hw v_c[h] · x_c[h, w] · u_c[w], v_c [H] = cosines [D] @ averaging [D, H], u_c [W] likewise.
    """

    frequencies: Tensor

    def __init__(self, channels: int, side: int, frequencies: Frequencies) -> None:
        super().__init__()
        self.channels_of_group = channels // len(GROUPS[frequencies])
        self.side = side
        self.register_buffer("frequencies", torch.tensor(GROUPS[frequencies], dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        vertical = self._read(self.frequencies[:, 0], x.shape[2]).to(x.dtype)
        horizontal = self._read(self.frequencies[:, 1], x.shape[3]).to(x.dtype)
        rows = (x @ horizontal[:, :, None]).squeeze(3)  # [B, C, H]
        return (rows * vertical).sum(2)

    def _read(self, frequency: Tensor, size: int) -> Tensor:
        """[16] -> [C, size]: what the pixels of a row (or column) of this size count for each channel's coefficient."""
        weights = cosines(frequency, self.side)
        if size != self.side:
            weights = weights @ averaging(size, self.side, frequency.device).to(weights.dtype)
        return weights.repeat_interleave(self.channels_of_group, dim=0)


def cosines(frequency: Tensor, side: int) -> Tensor:
    """[F] -> the orthonormal DCT-II vectors [F, side] of these frequencies, counted on a grid of 7."""
    position = torch.arange(side, dtype=torch.float32, device=frequency.device) + 0.5
    norm = torch.where(frequency == 0, 1.0, math.sqrt(2.0)) / math.sqrt(side)
    # Frequency by position first: in a bfloat16 network the frequencies are exact, being small whole numbers.
    return torch.cos(frequency[:, None] * position * (math.pi / GRID)) * norm[:, None]


def averaging(size: int, cells: int, device: torch.device) -> Tensor:
    """[cells, size]: adaptive average pooling of a line as a matrix: cell i is the mean from ⌊i·r⌋ to before ⌈(i+1)·r⌉,
    r = size / cells."""
    cell, position = torch.arange(cells, device=device)[:, None], torch.arange(size, device=device)
    start, end = cell * size // cells, ((cell + 1) * size + cells - 1) // cells
    return ((position >= start) & (position < end)) / (end - start)
