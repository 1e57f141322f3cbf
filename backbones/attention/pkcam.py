"""Previous Knowledge Channel Attention. Bakr, El-Sallab, Rashwan: "PKCAM", arXiv:2211.07521. EMCA grew from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.eca import EfficientChannelAttention
from backbones.attention.emca import MultiscaleAggregation
from backbones.attention.gate import SigmoidGate, Taps, add_scaled
from backbones.attention.place import Place
from backbones.attention.se import SqueezeExcite

EXCITATIONS: dict[str, type[SigmoidGate]] = {"eca": EfficientChannelAttention, "se": SqueezeExcite}


class PreviousKnowledge(nn.Module):
    """A gate of the block's own means F [B, C] and, but in the first block of a stage, of earlier stages' means.

    first block     s = σ(local(F))
    other blocks    s = σ(v₁·σ(local(F)) + v₂·σ(global(X_a))),  X_a = ReLU(Σ_r w_r · x_r): sigmoids within a sigmoid
    output          shortcut + residual ⊗ (1 + s)

    The x_r are the means of the last block of each earlier stage (its residual branch; of stage 0 the stem's map),
    oldest first, tiled to C, and then F. `local` and `global` are two gates with weights of their own. The published
    class also has weights that take no part; they are left out.
    """

    def __init__(self, place: Place, excitation: type[SigmoidGate]) -> None:
        super().__init__()
        self.local = excitation(place)
        self.fusion = Fusion(place, excitation) if place.block > 1 else None
        self.is_tapped = place.is_last_block and place.stage < len(place.depths)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        means = self.local.squeeze(residual)
        gate = self.local.excite(means)
        if self.fusion is not None:
            gate = self.fusion(gate, [*taps, means])
        if self.is_tapped:
            taps.append(means)
        return add_scaled(shortcut, residual, 1 + gate)


class Fusion(nn.Module):
    """σ(v₁·gate + v₂·σ(global(X_a))). v starts as PyTorch starts a convolution; w at 1/R, see MultiscaleAggregation."""

    def __init__(self, place: Place, excitation: type[SigmoidGate]) -> None:
        super().__init__()
        self.mab = MultiscaleAggregation(place.stage + 1)
        self.excitation = excitation(place)
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(2), -(0.5**0.5), 0.5**0.5))

    def forward(self, gate: Tensor, vectors: Sequence[Tensor]) -> Tensor:
        both = torch.stack((gate, self.excitation.excite(self.mab(vectors))), dim=-1)
        return torch.sigmoid(both @ self.weight.to(both.dtype))


def pkcam(place: Place, *, excitation: Literal["eca", "se"] = "eca") -> nn.Module:
    """What sits at `place`: a gate in every block, and behind the stem the mean that they read."""
    kind = EXCITATIONS[excitation]
    return kind.make_squeeze() if place.stage == 0 else PreviousKnowledge(place, kind)
