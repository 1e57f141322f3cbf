"""Parameters and multiply-adds (MACs) of a network, by the counting rule that reproduces the paper's tables."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.attention.emca import MultiscaleAggregation


def count_params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def count_macs(network: nn.Module, image_size: int | tuple[int, int] = 224) -> int:
    """MACs of one image through `network` in eval mode; runs on any device, the weightless "meta" one included.

    Convolutions and linear layers count their multiply-adds, BatchNorm 2 per element, adaptive average pooling
    C · (H · W + 1); functional operations (activations, additions, the scale itself, SRM's statistics) count nothing.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += RULES[type(module)](module, inputs[0], output)

    counted = [module for module in network.modules() if type(module) in RULES]
    handles = [module.register_forward_hook(count) for module in counted]
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return total


def _convolution(module: nn.Module, x: Tensor, y: Tensor) -> int:
    assert isinstance(module, (nn.Conv1d, nn.Conv2d))
    return y.numel() * module.weight[0].numel()


def _linear(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return y.numel() * x.shape[-1]


def _batch_norm(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return 2 * x.numel()


def _average_pool(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return x.numel() + y.numel()


def _aggregation(module: nn.Module, x: Tensor, y: Tensor) -> int:
    assert isinstance(module, MultiscaleAggregation)
    return y.numel() * module.weight.numel()


RULES: dict[type[nn.Module], Callable[[nn.Module, Tensor, Tensor], int]] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AdaptiveAvgPool2d: _average_pool,
    MultiscaleAggregation: _aggregation,
}
