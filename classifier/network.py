"""A backbone with its last layer, fed with pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones import build_backbone
from backbones.pixels import MEAN, STD
from backbones.pruned import prune
from backbones.resnet import AttentionResNet
from classifier.config import NetworkSettings


class Classifier(nn.Module):
    """images [B, 3, H, W] RGB 0..255, uint8 or float -> logits [B, K]; in train mode, with an attention that has logits
    of its own (abn), both: (logits, the attention's logits)."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: AttentionResNet) -> None:
        super().__init__()
        self.backbone = backbone
        # Derived from constants, so not part of a checkpoint.
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        normalised = images.to(self.mean.dtype).sub(self.mean).div_(self.std)
        logits: Tensor | tuple[Tensor, Tensor] = self.backbone(normalised)
        return logits


def build_classifier(settings: NetworkSettings, num_classes: int) -> Classifier:
    """The classifier that the settings describe, with fresh weights."""
    backbone = build_backbone(settings.arch, settings.attention_spec, num_classes=num_classes, stem=settings.stem)
    prune(backbone, settings.pruned)
    return Classifier(backbone)
