"""Attention Branch Network. Fukui et al.: "Attention Branch Network", CVPR 2019, arXiv:1812.10025. For classifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from backbones.attention.place import Place


class AttentionBranch(nn.Module):
    """Where the classes are, seen by a branch before the last stage: x [B, C, H, W] -> y for the last stage, logits.

    b = BN(copy of the last stage, stride 1 (x))        [B, C', H, W], weights of its own
    a = ReLU(BN(conv1x1(b)))                            [B, K, H, W], K classes
    y = x + x ⊗ σ(BN(conv3x3(a)))                       one number a position
    logits = mean over positions of conv1x1(a)          [B, K], in train mode only

    Training adds the cross-entropy of both logits. No biases; He start (fan-out). The published pooling is an average
    of fixed size, which at the training size is the mean. A 1x1 convolution and the mean change places without changing
    the result, so here the mean comes first and the convolution is a linear layer.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.num_classes is not None
        self.stage = unstrided_stage(place)
        self.norm = nn.BatchNorm2d(place.channels)
        self.to_classes = nn.Sequential(
            nn.Conv2d(place.channels, place.num_classes, kernel_size=1, bias=False),
            nn.BatchNorm2d(place.num_classes),
            nn.ReLU(inplace=True),
        )
        self.score = nn.Sequential(
            nn.Conv2d(place.num_classes, 1, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid()
        )
        self.logits = nn.Linear(place.num_classes, place.num_classes, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        classes = self.to_classes(self.norm(self.stage(x)))
        attended = torch.addcmul(x, x, self.score(classes))
        return attended, self.logits(classes.mean((2, 3))) if self.training else None


def unstrided_stage(place: Place) -> nn.Sequential:
    """The stage of `place` (its first block) as torchvision builds it, but with stride 1 throughout."""
    kind: type[BasicBlock | Bottleneck] = Bottleneck if place.is_bottleneck else BasicBlock
    earlier = place.up_to_here[-2].channels
    projection = nn.Sequential(
        nn.Conv2d(earlier, place.channels, kernel_size=1, bias=False), nn.BatchNorm2d(place.channels)
    )
    others = (kind(place.channels, place.inner) for _ in range(1, place.depths[place.stage - 1]))
    return nn.Sequential(kind(earlier, place.inner, downsample=projection), *others)
