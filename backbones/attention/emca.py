"""Efficient Multiscale Channel Attention. Bakr, El-Sallab, Rashwan: "EMCA", IEEE Access 2022.

A local attention ("excitation": SE, ECA or SRM) in the first block of each stage, fed with more than its own map:

    taps      the residual branch of earlier blocks, squeezed; stage "0" is the stem after its max-pool
    MAB       X_a = ReLU(Σ_r w_r · x_r) over the R aligned vectors, oldest first, the current map last
    gate      z = excite(X_a);   output = shortcut + residual ⊗ z

The squeezed vectors travel from block to block in one list, `taps`, which holds exactly what the next reader reads:
a tapped block appends its own vector, the first block of a stage reads them all and then drops what no one needs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.attention.gate import ChannelGate, PlainAdd, Taps, add_scaled
from backbones.attention.place import Place, all_places
from backbones.attention.spatial import Spatial, spatial_score
from backbones.names import Coverage

Aggregation = Literal["conv", "depthwise", "full"]


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
        stacked = torch.stack(tiled(vectors), dim=-1)
        return torch.relu(stacked @ self.weight.to(stacked.dtype))


class DepthwiseAggregation(MultiscaleAggregation):
    """The paper's depth-wise W_m, 1 x RC_0: X_a[c] = ReLU(Σ_r w_cr · x_r[c]), one weight per channel and scale."""

    def __init__(self, scales: int, channels: int) -> None:
        super().__init__(scales)
        self.weight = nn.Parameter(torch.full((channels, scales), 1.0 / scales))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(tiled(vectors), dim=-1)  # [B, C, R] or [B, C, S, R]
        weight = self.weight if stacked.dim() == 3 else self.weight[:, None]
        return torch.relu((stacked * weight.to(stacked.dtype)).sum(-1))


class FullAggregation(nn.Module):
    """The paper's fully connected W_m: X_a = ReLU(W [x_1; ...; x_R]), every channel of every scale with every channel.

    The paper prints RC_0 x RC_0, but also that X_a has C_0 numbers: W is C_0 x RC_0. It starts as equal shares.
    """

    def __init__(self, scales: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels).repeat(1, scales) / scales)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        return torch.relu(mix_channels(torch.cat(tiled(vectors), dim=1), self.weight))


def aggregation_of(kind: Aggregation, scales: int, channels: int) -> nn.Module:
    if kind == "conv":
        return MultiscaleAggregation(scales)
    return (DepthwiseAggregation if kind == "depthwise" else FullAggregation)(scales, channels)


class LearnedAlignment(nn.Module):
    """A shallow vector of C_j channels is brought to C_0 by a matrix of its own, C_0 x C_j, that starts as tiling.

    The paper names "learnable upsampling" beside repeating and says no more. A 1x1 convolution of the maps commutes
    with their means, so here it mixes the pooled vectors. (With SRM's standard deviations too, where it only
    resembles the mixing of maps.)
    """

    def __init__(self, widths: Iterable[int], channels: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.eye(w).repeat(channels // w, 1) for w in widths if w < channels)

    def forward(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        channels, weights = vectors[-1].shape[1], iter(self.weights)
        return [mix_channels(v, next(weights)) if v.shape[1] < channels else v for v in vectors]


def tiled(vectors: Sequence[Tensor]) -> list[Tensor]:
    """Shallow vectors have fewer channels and are repeated. Tiling commutes with pooling, so maps are never tiled."""
    channels = vectors[-1].shape[1]
    return [torch.cat([v] * (channels // v.shape[1]), dim=1) if v.shape[1] < channels else v for v in vectors]


def mix_channels(vector: Tensor, weight: Tensor) -> Tensor:
    """[B, C] or [B, C, S] times [C', C], over the channels."""
    weight = weight.to(vector.dtype)
    if vector.dim() == 2:
        return functional.linear(vector, weight)
    return functional.linear(vector.transpose(1, 2), weight).transpose(1, 2)


class Emca(nn.Module):
    """The attention of the first block of a stage: `excitation`, fed with several vectors instead of one.

    mab             joins the vectors; None: the excitation alone
    is_tapped       a later stage reads this block too
    keeps_taps      later stages read again what this one has read
    residual_gate   output = shortcut + residual ⊗ (1 + z), as in earlier published code
    align           brings the vectors to equal width before `mab`, which else tiles them
    spatial         output = shortcut + u ⊗ sigmoid(spatial(u)), u = residual ⊗ z
    """

    def __init__(
        self,
        excitation: ChannelGate,
        mab: nn.Module | None,
        is_tapped: bool,
        keeps_taps: bool,
        residual_gate: bool = False,
        align: nn.Module | None = None,
        spatial: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.excitation = excitation
        self.align = align
        self.mab = mab
        self.is_tapped = is_tapped
        self.keeps_taps = keeps_taps
        self.residual_gate = residual_gate
        self.spatial = spatial

    def gate(self, squeezed: Tensor, taps: Taps) -> Tensor:
        """What `excitation.squeeze` gave of this block, and the taps -> z [B, C]. Leaves in `taps` what is read on."""
        vectors = squeezed if self.mab is None else self._aggregate([*taps, squeezed])
        if not self.keeps_taps:
            taps.clear()
        if self.is_tapped:
            taps.append(squeezed)
        return self.excitation.excite(vectors)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        gate = self.gate(self.excitation.squeeze(residual), taps)
        gate = 1 + gate if self.residual_gate else gate
        if self.spatial is None:
            return add_scaled(shortcut, residual, gate)
        scaled = residual * gate.to(residual.dtype)[:, :, None, None]
        return torch.addcmul(shortcut, scaled, torch.sigmoid(self.spatial(scaled)))

    def _aggregate(self, vectors: list[Tensor]) -> Tensor:
        assert self.mab is not None
        return self.mab(vectors if self.align is None else self.align(vectors))


class Tap(PlainAdd):
    """No attention here, but a later stage reads this block: leave its squeezed residual in `taps`, then add."""

    def __init__(self, squeeze: nn.Module) -> None:
        super().__init__()
        self.squeeze = squeeze

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        taps.append(self.squeeze(residual))
        return super().forward(residual, shortcut, taps)


def emca(
    excitation: type[ChannelGate],
    place: Place,
    *,
    coverage: Coverage = "1,N",
    residual_gate: bool = False,
    aggregation: Aggregation = "conv",
    alignment: Literal["repeat", "learned"] = "repeat",
    spatial: Literal[Spatial, "none"] = "none",
) -> nn.Module | None:
    """What sits at `place`: the attention in the first block of a stage, a tap where a later stage reads, else nothing.

    coverage        what the first block of a stage reads, "S,N'" of eq. (5): how many stages back (0, 1, or i-1 for
                    all), and of each its last block (1) or all blocks (N)
    residual_gate   scale by 1 + z instead of z, as in earlier published code
    aggregation     W_m: `conv`, the paper's choice, or one of the two that it calls too large. They replace the
                    aggregation alone: the excitation still follows, as it is what brings C_0 numbers to a gate
    alignment       of vectors with fewer channels: repeat, the paper's choice, or a matrix of their own
    spatial         a spatial gate behind the channel gate, as in a hybrid (in sequence)
    """
    reach, share = coverage.split(",")
    has_reader = reach != "0" and place.stage < len(place.depths)
    is_tapped = has_reader and (share == "N" or place.is_last_block)
    if place.stage == 0:
        return excitation.make_squeeze() if is_tapped else None
    if place.block > 1:
        return Tap(excitation.make_squeeze()) if is_tapped else None
    read = [earlier.channels for earlier in places_read(place, coverage)]
    return Emca(
        excitation(place),
        aggregation_of(aggregation, len(read) + 1, place.channels) if read else None,
        is_tapped,
        keeps_taps=reach == "i-1",
        residual_gate=residual_gate,
        align=LearnedAlignment(read, place.channels) if alignment == "learned" and read else None,
        spatial=None if spatial == "none" else spatial_score(spatial, place),
    )


def places_read(place: Place, coverage: Coverage) -> list[Place]:
    """The earlier blocks that the first block of a stage reads, oldest first; with its own they are the R_i of eq. (5).

    R_i = 1 + Σ_{j=1..S} N'_{i-j} for stage i = 1, 2, ...; stage 0 is the stem and counts as one block.
    """
    reach, share = coverage.split(",")
    stages = range({"0": place.stage, "1": place.stage - 1, "i-1": 0}[reach], place.stage)
    every = all_places(place.depths, place.channels // place.inner)
    return [earlier for earlier in every if earlier.stage in stages and (share == "N" or earlier.is_last_block)]
