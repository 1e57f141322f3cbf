"""BatchNorm folded into the convolution before it: the same outputs from fewer operations, for inference."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def fuse(network: Module, size: int = 64) -> Module:
    """A copy of `network` in eval mode in which every BatchNorm2d fed straight by a convolution is folded into it.

    Which convolution feeds which BatchNorm is observed in one forward pass of a [1, 3, size, size] image, not guessed
    from names: so it holds for any backbone and for attention modules within its blocks.
    """
    fused = copy.deepcopy(network).eval()
    pairs = _fed_by(fused, size)
    uses = Counter(conv for conv, _ in pairs)
    for conv, norm_name in pairs:
        if uses[conv] > 1:  # one convolution before several norms cannot hold them all
            continue
        parent_name, _, name = norm_name.rpartition(".")
        norm = fused.get_submodule(norm_name)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = folded.weight, folded.bias
        setattr(fused.get_submodule(parent_name), name, nn.Identity())
    return fused


def _fed_by(network: nn.Module, size: int) -> list[tuple[nn.Conv2d, str]]:
    """Each BatchNorm2d (by name) whose input is the output of a convolution, with that convolution."""
    made: dict[
        int, tuple[nn.Conv2d, Tensor]
    ] = {}  # by identity of the output, which is kept alive so that it is unique
    pairs: list[tuple[nn.Conv2d, str]] = []

    def remember(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = (module, output)

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.BatchNorm2d):

            def match(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if id(inputs[0]) in made:
                    pairs.append((made[id(inputs[0])][0], name))

            handles.append(module.register_forward_pre_hook(match))
    try:
        weight = next(network.parameters())
        network(torch.zeros(1, 3, size, size, device=weight.device, dtype=weight.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return pairs
