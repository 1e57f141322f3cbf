"""Grad-CAM. Selvaraju et al.: "Grad-CAM: Visual Explanations from Deep Networks", ICCV 2017, arXiv:1610.02391.

α_c = mean over positions of ∂y / ∂A_c        map = ReLU(Σ_c α_c A_c), to the picture's size, divided by its maximum
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from data.resize import Geometry

Map = NDArray[np.float32]


class Watch:
    """Within it, `maps` is what a module gave in the last forward pass, as leaves of the graph behind them.

    The network goes on with copies: the ReLU behind a block works in place and would overwrite what was kept.
    """

    def __init__(self, module: nn.Module) -> None:
        self.maps: tuple[Tensor, ...] = ()
        self._module = module

    def __enter__(self) -> Watch:
        self._handle = self._module.register_forward_hook(self._keep)
        return self

    def __exit__(self, kind: type | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        self.maps = tuple(tensor.detach().requires_grad_() for tensor in outputs)
        copies = tuple(tensor.clone() for tensor in self.maps)
        return copies if isinstance(output, tuple) else copies[0]


def channel_weights(logit: Tensor, activation: Tensor) -> Tensor:
    """α [C] of y = `logit` for A = `activation` [1, C, h, w]; zeros where y does not depend on it."""
    (gradient,) = torch.autograd.grad(logit, activation, retain_graph=True, allow_unused=True)
    return torch.zeros_like(activation[0, :, 0, 0]) if gradient is None else gradient[0].mean((1, 2))


def class_map(weights: Tensor, activation: Tensor) -> Tensor:
    """α [C] and A [1, C, h, w] -> [h, w], not yet divided by its maximum."""
    return torch.relu((weights[:, None, None] * activation.detach()[0]).sum(0))


def on_input(raw: Tensor, geometry: Geometry) -> Map:
    """A map [h, w] over the network's input [H, W]."""
    return normalised(_enlarged(raw, geometry.target))


def on_picture(raw: Tensor, geometry: Geometry) -> Map:
    """A map [h, w] over the original picture: the resize, its padding too, is undone."""
    x1, y1, x2, y2 = geometry.content
    return normalised(_enlarged(_enlarged(raw, geometry.target)[y1:y2, x1:x2], geometry.source))


def normalised(raw: Tensor) -> Map:
    """Divided by its maximum; a map of zeros stays one."""
    values = raw.cpu().numpy().astype(np.float32)
    peak = values.max(initial=0)
    return values / peak if peak > 0 else values


def _enlarged(raw: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(raw[None, None], size, mode="bilinear", align_corners=False)[0, 0]
