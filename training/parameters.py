"""Which weights are trained, and how."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from training.settings import OptimizerSettings, TrainSettings


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Without `decay_all` biases and BatchNorm do not decay: a smaller scale or shift regularises nothing."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    of_others = settings.weight_decay if settings.decay_all else 0.0
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": of_others},
    ]
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)


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
