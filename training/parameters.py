"""Which weights are trained, and how."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from training.settings import OptimizerSettings, TrainSettings


def make_optimizer(network: nn.Module, backbone: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Groups of parameters, each with its decay and its share `rate` of the learning rate, which `set_rate` gives them.

    Without `decay_all` biases and BatchNorm do not decay: a smaller scale or shift regularises nothing.
    """
    of_others = settings.weight_decay if settings.decay_all else 0.0
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    slow = set(backbone.parameters()) if settings.backbone_rate < 1 else set()
    groups = []
    for rate, part in (
        (1.0, [p for p in trained if p not in slow]),
        (settings.backbone_rate, [p for p in trained if p in slow]),
    ):
        groups.append({"params": [p for p in part if p.ndim > 1], "weight_decay": settings.weight_decay, "rate": rate})
        groups.append({"params": [p for p in part if p.ndim <= 1], "weight_decay": of_others, "rate": rate})
    groups = [group for group in groups if group["params"]]
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate", 1.0)  # runs of before `backbone_rate` have none


def freeze(backbone: nn.Module, settings: TrainSettings) -> None:
    """Takes the stem, or the backbone's BatchNorm, out of training, as pretrained backbones like it."""
    if settings.freeze_stem:
        for part in _stem(backbone):
            part.requires_grad_(False)
    if settings.freeze_bn:
        for module in _batch_norms(backbone):
            module.requires_grad_(False)


def train_mode(network: nn.Module, backbone: nn.Module, settings: TrainSettings) -> None:
    """`network.train()`, but frozen BatchNorm keeps its statistics."""
    network.train()
    parts = [backbone] if settings.freeze_bn else _stem(backbone) if settings.freeze_stem else []
    for part in parts:
        for module in _batch_norms(part):
            module.eval()


def _stem(backbone: nn.Module) -> list[nn.Module]:
    """The first convolution, its BatchNorm and the first stage, by torchvision's names."""
    return [backbone.get_submodule(name) for name in ("conv1", "bn1", "layer1")]


def _batch_norms(module: nn.Module) -> Iterator[nn.Module]:
    return (part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))
