"""Places and weights for tests of attention."""

from __future__ import annotations

import torch

from backbones.attention import CATALOGUE
from backbones.attention.place import Place
from backbones.resnet import ARCHS, AttentionResNet, goes_with
from backbones.spec import AttentionSpec

GIVE_MAPS = tuple(name for name, entry in CATALOGUE.items() if not entry.seat.is_of_classifier)


def place(channels: int, side: int = 14, stride: int = 1, inner: int | None = None) -> Place:
    """A first block of stage 3 in a ResNet-18, but as wide and as large as asked."""
    inner = inner or channels
    return Place(3, 1, (2, 2, 2, 2), inputs=inner, inner=inner, channels=channels, side=side, stride=stride)


def smallest(attention: str) -> str:
    """The smallest ResNet that this attention goes with."""
    return next(arch for arch in ARCHS if goes_with(arch, AttentionSpec.parse(attention)))


def off_its_start(backbone: AttentionResNet) -> AttentionResNet:
    """Moves the attention off its starting values, which (zeros, ones) would hide mistakes.

    Weights of many inputs are moved less, so that what they give is not moved more: a softmax over large products is
    one-hot, and rounding would decide where its one is.
    """
    for path in backbone.attention_paths:
        for parameter in backbone.get_submodule(path).parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.data.add_(torch.randn_like(parameter) * min(0.1, 0.5 * fan_in**-0.5))
    return backbone
