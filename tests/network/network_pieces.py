"""Small pieces from which the network's tests are put together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data.batches import Targets
from detector.network.settings import KITTI_ANCHORS
from detector.network.yolov3.network import YOLOv3

ANCHORS = torch.tensor(KITTI_ANCHORS, dtype=torch.float32).view(3, 3, 2)


class TinyBackbone(nn.Module):
    """The contract of a backbone (C3, C4, C5 at strides 8, 16, 32) in three convolutions and BatchNorms."""

    channels = (16, 24, 40)
    strides = (8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        stages = [(3, 16, 8), (16, 24, 2), (24, 40, 2)]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, s, s, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o, s in stages
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def tiny(num_classes: int = 3, width: float = 0.25, seed: int = 0, **options) -> YOLOv3:
    torch.manual_seed(seed)
    return YOLOv3(TinyBackbone(), num_classes, ANCHORS, width, **options)


def lively(network: YOLOv3) -> YOLOv3:
    """Weights of the last layers large enough, and BatchNorms uneven enough, for outputs that differ all over."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
        for head in network.heads:
            head[-1].weight.normal_(0, 0.1, generator=generator)
            head[-1].bias.normal_(0, 1, generator=generator)
    return network


def targets_of(objects=(), regions=(), dtype=torch.float32) -> Targets:
    """objects: (image, label, x1, y1, x2, y2); regions: (image, x1, y1, x2, y2)."""
    return Targets(
        boxes=torch.tensor([o[2:] for o in objects], dtype=dtype).reshape(-1, 4),
        labels=torch.tensor([o[1] for o in objects], dtype=torch.int64),
        image=torch.tensor([o[0] for o in objects], dtype=torch.int64),
        ignore=torch.tensor([r[1:] for r in regions], dtype=dtype).reshape(-1, 4),
        ignore_image=torch.tensor([r[0] for r in regions], dtype=torch.int64),
    )


def encode(coder, boxes, grid):
    """What a perfect head says: inverse of `coder.decode` for boxes within its reach; others get the nearest."""
    share, size = coder.fractions(boxes, grid)
    return torch.cat((share.logit(eps=1e-6), size), -1)


def wake(detector: nn.Module) -> None:
    """Gives an untrained YOLOv3 heads that see something everywhere: scores from 0 to 0.9, boxes of all sizes."""
    for head in detector.heads:
        nn.init.normal_(head[-1].weight, std=0.3)
        nn.init.normal_(head[-1].bias, std=0.3)
