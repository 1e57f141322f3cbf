"""Efficient Multiscale Channel Attention. Bakr, El-Sallab, Rashwan: "EMCA", IEEE Access 2022.

A local attention ("excitation": SE, ECA or SRM) in the first block of each stage, fed with more than its own map:

    taps      the residual branch of earlier blocks, squeezed; stage "0" is the stem after its max-pool
    MAB       X_a = ReLU(Σ_r w_r · x_r) over the R aligned vectors, oldest first, the current map last
    gate      z = excite(X_a);   output = shortcut + residual ⊗ z

The squeezed vectors travel from block to block in one list, `taps`, which holds exactly what the next reader reads:
a tapped block appends its own vector, the first block of a stage reads them all and then drops what no one needs again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.attention.gate import ChannelGate, PlainAdd, Taps, add_scaled
from backbones.attention.place import Place
from backbones.names import Coverage


class MultiscaleAggregation(nn.Module):
    """MAB: [R vectors of C_0 / k channels] -> X_a = ReLU(Σ_r w_r · tile(x_r)), [B, C_0] (or [B, C_0, S]).

    One weight per scale, shared by all channels, no bias: a Conv1d of kernel and stride R over the interleaved vectors.
    """

    def __init__(self, scales: int) -> None:
        super().__init__()
        # Equal shares, not PyTorch's default for a conv1d, uniform in ±1/sqrt(R). At stage 1 the stem's vector is all
        # positive and outweighs the current map, so the sign of one weight decides for all channels: in about half of
        # the seeds the ReLU then starts all zero, and passes no gradient that could revive it.
        self.weight = nn.Parameter(torch.full((scales,), 1.0 / scales))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        channels = vectors[-1].shape[1]
        # Shallow vectors have fewer channels and are repeated. Tiling commutes with pooling, so maps are never tiled.
        aligned = [torch.cat([v] * (channels // v.shape[1]), dim=1) if v.shape[1] < channels else v for v in vectors]
        return torch.relu(torch.stack(aligned, dim=-1) @ self.weight.to(aligned[-1].dtype))


class Emca(nn.Module):
    """The attention of the first block of a stage: `excitation`, fed with `scales` vectors instead of one.

    scales          R; 1 means no aggregation, the excitation alone
    is_tapped       a later stage reads this block too
    keeps_taps      later stages read again what this one has read
    residual_gate   output = shortcut + residual ⊗ (1 + z), as in earlier published code
    """

    def __init__(
        self, excitation: ChannelGate, scales: int, is_tapped: bool, keeps_taps: bool, residual_gate: bool = False
    ) -> None:
        super().__init__()
        self.excitation = excitation
        self.mab = MultiscaleAggregation(scales) if scales > 1 else None
        self.is_tapped = is_tapped
        self.keeps_taps = keeps_taps
        self.residual_gate = residual_gate

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        own = self.excitation.squeeze(residual)
        gate = self.excitation.excite(own if self.mab is None else self.mab([*taps, own]))
        if not self.keeps_taps:
            taps.clear()
        if self.is_tapped:
            taps.append(own)
        return add_scaled(shortcut, residual, 1 + gate if self.residual_gate else gate)


class Tap(PlainAdd):
    """No attention here, but a later stage reads this block: leave its squeezed residual in `taps`, then add."""

    def __init__(self, squeeze: nn.Module) -> None:
        super().__init__()
        self.squeeze = squeeze

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        taps.append(self.squeeze(residual))
        return super().forward(residual, shortcut, taps)


def emca(
    excitation: type[ChannelGate], place: Place, *, coverage: Coverage = "1,N", residual_gate: bool = False
) -> nn.Module | None:
    """What sits at `place`: the attention in the first block of a stage, a tap where a later stage reads, else nothing.

    coverage        what the first block of a stage reads, "S,N'" of eq. (5): how many stages back (0, 1, or i-1 for
                    all), and of each its last block (1) or all blocks (N)
    residual_gate   scale by 1 + z instead of z, as in earlier published code
    """
    reach, share = coverage.split(",")
    has_reader = reach != "0" and place.stage < len(place.depths)
    is_tapped = has_reader and (share == "N" or place.is_last_block)
    if place.stage == 0:
        return excitation.make_squeeze() if is_tapped else None
    if place.block > 1:
        return Tap(excitation.make_squeeze()) if is_tapped else None
    scales = coverage_region(place.stage, place.depths, coverage)
    return Emca(excitation(place), scales, is_tapped, keeps_taps=reach == "i-1", residual_gate=residual_gate)


def coverage_region(stage: int, depths: Sequence[int], coverage: Coverage) -> int:
    """R_i = 1 + Σ_{j=1..S} N'_{i-j} (eq. 5) for stage i = 1, 2, ...; stage 0 is the stem and counts as one block."""
    reach, share = coverage.split(",")
    previous = [1, *depths][:stage]
    read = {"0": [], "1": previous[-1:], "i-1": previous}[reach]
    return 1 + sum(blocks if share == "N" else 1 for blocks in read)
