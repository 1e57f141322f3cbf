"""An exponential moving average of the weights: what is evaluated, exported and shown."""

from __future__ import annotations

import copy

import torch
from torch import nn

from training.schedule import ema_decay


class EMA:
    """average <- d * average + (1 - d) * weights after every step, BatchNorm statistics included."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        source, target = model.state_dict(), self.model.state_dict()
        floats = [name for name, value in target.items() if value.is_floating_point()]
        weight = 1.0 - ema_decay(self.updates, self.decay)
        torch._foreach_lerp_([target[name] for name in floats], [source[name] for name in floats], weight)
        for name in target.keys() - set(floats):
            target[name].copy_(source[name])
