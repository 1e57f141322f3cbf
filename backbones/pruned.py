"""Residual branches without the channels whose gate stays shut: what a zero gate multiplies needs no map.

The block's last convolution and its BatchNorm lose these rows. The block's output keeps the channels: the shortcut
fills them. Their means live on, as the gates of other channels and later stages read them; but a mean needs no map:

    mean over positions of conv(h)_c = Σ_i Σ_k w_cik · mean of h_i in the window that tap k sees

So the network is equal to the whole one where the gates are zero. Its weights stay as many, less BatchNorm's; its
multiply-adds fall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

from backbones.attention.emca import Emca
from backbones.attention.gate import ChannelGate, GlobalMean, Taps, add_scaled
from backbones.resnet import AttentionBasicBlock, AttentionBottleneck, AttentionResNet, build_backbone
from backbones.spec import AttentionSpec

Cut = Mapping[str, Sequence[int]]  # channels by the name of a block, `layer4.0`


class PrunedBranch(nn.Module):
    """In the seat of a block's attention. The block's last convolution and BatchNorm have moved in here, so that what
    comes as the residual is their input h [B, inner, H, W].
    """

    order: Tensor
    source: Tensor
    alive: Tensor

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d, attention: ChannelGate | Emca, cut: Sequence[int]
    ) -> None:
        super().__init__()
        channels = conv.out_channels
        kept = [channel for channel in range(channels) if channel not in set(cut)]
        self.conv, self.norm = _rows(conv, norm, kept)
        self.squeeze = GlobalMean()
        self.means_of_cut = ConvolvedMeans(conv, norm, cut)
        self.attention = attention
        order = torch.argsort(torch.tensor([*kept, *cut]))
        place = {channel: row for row, channel in enumerate(kept)}
        source = torch.tensor([place.get(channel, 0) for channel in range(channels)])
        alive = torch.tensor([float(channel in place) for channel in range(channels)])
        for name, value in (("order", order), ("source", source), ("alive", alive)):
            self.register_buffer(name, value, persistent=False)  # the config says which
        self.train(norm.training)

    def forward(self, inner: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        residual = self.norm(self.conv(inner))
        means = torch.cat((self.squeeze(residual), self.means_of_cut(inner).to(residual.dtype)), 1)[:, self.order]
        gate = self.attention.gate(means, taps)
        # One gather and one addition; a cut channel borrows some map, which its zero leaves out.
        return add_scaled(shortcut, residual.index_select(1, self.source), gate * self.alive)


class ConvolvedMeans(nn.Module):
    """[B, inner, H, W] -> means [B, D] of some rows of a convolution and its BatchNorm (as in eval mode), without maps.

    The convolution is 1x1, or 3x3 with padding 1, of stride 1: the last of any block.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, rows: Sequence[int]) -> None:
        super().__init__()
        assert conv.kernel_size in ((1, 1), (3, 3)) and conv.stride == (1, 1)
        self.is_3x3 = conv.kernel_size == (3, 3)
        self.linear = nn.Linear(conv.weight[0].numel(), len(rows))
        index = torch.tensor(rows, device=conv.weight.device)
        with torch.no_grad():
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.linear.weight = nn.Parameter((conv.weight.flatten(1) * scale[:, None])[index])
            self.linear.bias = nn.Parameter((norm.bias - norm.running_mean * scale)[index])

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        means = window_sums(x) / (x.shape[2] * x.shape[3]) if self.is_3x3 else x.mean((2, 3))
        return self.linear(means.flatten(1).to(self.linear.weight.dtype))


def window_sums(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 3, 3]: the sum over what each tap of a 3x3 convolution with padding 1 sees.

    The upper taps never see the last row, the lower ones never the first; columns likewise.
    """
    whole = x.sum(2)
    rows = torch.stack((whole - x[:, :, -1], whole, whole - x[:, :, 0]), 2)  # [B, C, 3, W]
    total = rows.sum(3)
    return torch.stack((total - rows[..., -1], total, total - rows[..., 0]), 3)


def prune(backbone: AttentionResNet, cut: Cut) -> None:
    """Takes the channels out of the blocks' residual branches, in place. Raises ValueError where that cannot be."""
    for name, channels in cut.items():
        block = _block(backbone, name)
        last = "3" if isinstance(block, AttentionBottleneck) else "2"
        conv, norm = getattr(block, f"conv{last}"), getattr(block, f"bn{last}")
        if not is_prunable(block.attention):
            raise ValueError(f"pruned {name}: its attention gates no channel by means alone, so none can be cut")
        if not channels or len(set(channels)) < len(channels) or not set(channels) < set(range(conv.out_channels)):
            expected = f"some of 0 to {conv.out_channels - 1}, each once, and not all"
            raise ValueError(f"pruned {name}: found {str(list(channels))[:60]}, expected {expected}")
        block.attention = PrunedBranch(conv, norm, block.attention, channels)
        setattr(block, f"conv{last}", nn.Identity())
        setattr(block, f"bn{last}", nn.Identity())


def is_prunable(attention: nn.Module) -> TypeGuard[ChannelGate | Emca]:
    """A gate z on each channel and nothing else, read from means: the only statistic that needs no map."""
    if isinstance(attention, Emca):
        whole = attention.residual_gate or attention.spatial is not None  # 1 + z is never shut
        return not whole and is_prunable(attention.excitation)
    is_plain = isinstance(attention, ChannelGate) and type(attention).forward is ChannelGate.forward
    return is_plain and isinstance(attention.squeeze, GlobalMean)


def check_pruned(arch: str, attention: AttentionSpec, cut: Cut) -> None:
    """Raises a one-line ValueError where this network cannot be cut like that."""
    with torch.device("meta"):
        prune(build_backbone(arch, attention), cut)


def _block(backbone: AttentionResNet, name: str) -> AttentionBasicBlock | AttentionBottleneck:
    blocks = {f"layer{k}.{j}": block for k, stage in enumerate(backbone.stages(), 1) for j, block in enumerate(stage)}
    if name not in blocks:
        raise ValueError(f"pruned {name[:40]!r}: no such block; expected one of {', '.join(blocks)}")
    return cast(AttentionBasicBlock | AttentionBottleneck, blocks[name])


def _rows(conv: nn.Conv2d, norm: nn.BatchNorm2d, rows: Sequence[int]) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution and its BatchNorm with some of their rows."""
    index = torch.tensor(rows, device=conv.weight.device)
    kernel = (conv.kernel_size[0], conv.kernel_size[1])
    small = nn.Conv2d(conv.in_channels, len(rows), kernel, padding=kernel[0] // 2, bias=False)
    small_norm = nn.BatchNorm2d(len(rows), norm.eps, norm.momentum)
    small.load_state_dict({"weight": conv.weight[index]}, assign=True)
    state = {key: value[index] if value.dim() else value for key, value in norm.state_dict().items()}
    small_norm.load_state_dict(state, assign=True)
    return small, small_norm
