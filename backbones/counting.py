"""Parameters and multiply-adds (MACs) of a network, by the counting rule that reproduces the paper's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from backbones.attention.emca import MultiscaleAggregation


def count_params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def count_macs(network: nn.Module, image_size: int | tuple[int, int] = 224) -> int:
    """MACs of one image through `network` in eval mode; runs on any device, the weightless "meta" one included.

    Convolutions and linear layers count their multiply-adds, BatchNorm 2 per element, adaptive average pooling
    C · (H · W + 1). Matrix products and convolutions that are no layers, as those of a self-attention, count their
    multiply-adds too. All else (activations, additions, the scale itself, SRM's statistics) counts nothing.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    count = _Count()
    handles = []
    for module in network.modules():
        if (rule := _rule_of(module)) is not None:
            handles.append(module.register_forward_pre_hook(count.enter))
            handles.append(module.register_forward_hook(count.leave_by(rule)))
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad(), count:
            network.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return count.macs


Rule = Callable[[nn.Module, Tensor, Tensor], int]


class _Count(TorchDispatchMode):
    """Adds up layers by their rules, and the products that PyTorch computes outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self._layers = 0  # counted layers that are running, one within another

    def enter(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._layers += 1

    def leave_by(self, rule: Rule) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def leave(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._layers -= 1
            if not self._layers:
                self.macs += rule(module, inputs[0], output)

        return leave

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if not self._layers:
            self.macs += _product(function, args, kwargs or {}, output)
        return output


def _product(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> int:
    """MACs of one operation, 0 if it is no matrix product or convolution."""
    operation = function.overloadpacket
    if operation in MATRIX_ARGUMENT:  # matrix by vector
        return args[MATRIX_ARGUMENT[operation]].numel()
    if operation is CPU_ATTENTION:
        query, key, value = args[:3]  # [B, heads, positions, numbers]
        return query[..., 0].numel() * key.shape[2] * (query.shape[3] + value.shape[3])
    if operation in flop_registry:
        return flop_registry[operation](*args, **kwargs, out_val=output) // 2  # it counts 2 operations a multiply-add
    return 0


# What PyTorch's own table of operations leaves out.
MATRIX_ARGUMENT = {torch.ops.aten.dot: 0, torch.ops.aten.mv: 0, torch.ops.aten.addmv: 1}
CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _rule_of(module: nn.Module) -> Rule | None:
    return next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)


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
    return y.numel() * module.weight.shape[-1]


RULES: dict[type, Rule] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AdaptiveAvgPool2d: _average_pool,
    MultiscaleAggregation: _aggregation,
}
