"""A linear layer over the joined means of all blocks. Two readings of one sentence of a proposal that has no code:
"channel wise information is concatenated (n x c x 1) and passed through a linear layer to extract information (c x 1)".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean, Taps, add_scaled
from backbones.attention.place import STAGE_WIDTHS, Place


class ConcatenatedGate(nn.Module):
    """The vector is a gate: u = W [means of all earlier blocks' outputs, oldest first; mean(x)] + b, y = x ⊗ σ(u)."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.squeeze = GlobalMean()
        self.merge = nn.Linear(width_of_all(place), place.channels)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        means = torch.cat([*taps, self.squeeze(residual)], dim=1)
        return add_scaled(shortcut, residual, torch.sigmoid(self.merge(means)))


class ConcatenatedVector(nn.Module):
    """The vector is what the classifier reads: u = W [means of all blocks' outputs, oldest first] + b, then logits.

    stem        the mean of the stem's map comes before them
    """

    def __init__(self, place: Place, *, stem: bool = False) -> None:
        super().__init__()
        self.reads_stem = stem
        self.linear = nn.Linear(width_of_all(place) + (STAGE_WIDTHS[0] if stem else 0), place.channels)

    def forward(self, vector: Tensor, taps: Taps) -> Tensor:
        return self.linear(torch.cat([*taps, vector], dim=1))


def width_of_all(place: Place) -> int:
    """Channels of all blocks up to this one."""
    return sum(block.channels for block in place.up_to_here)
