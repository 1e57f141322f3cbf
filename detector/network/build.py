"""From settings to a network."""

from __future__ import annotations

from collections.abc import Callable

import torch

from backbones import build_backbone
from backbones.pruned import prune
from backbones.resnet import AttentionResNet
from detector.network.model import DetectionModel
from detector.network.settings import LossSettings, NetworkSettings
from detector.network.torchvision.retinanet import RetinaNet
from detector.network.torchvision.two_stage import FasterRCNN, MaskRCNN
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.network import YOLOv3


def build_detector(settings: NetworkSettings, num_classes: int, loss: LossSettings | None = None) -> DetectionModel:
    """The detector that the settings describe, with fresh weights; `loss` only matters to training."""
    return KINDS[settings.kind](settings, num_classes, loss or LossSettings())


def build_yolov3(settings: NetworkSettings, num_classes: int, loss: LossSettings) -> YOLOv3:
    anchors = torch.tensor(settings.anchor_sizes, dtype=torch.float32).view(3, -1, 2)
    coder = Coder(settings.xy_scale)
    return YOLOv3(_backbone(settings, (3, 4, 5)), num_classes, anchors, settings.width, coder, loss)


def build_faster_rcnn(settings: NetworkSettings, num_classes: int, loss: LossSettings) -> FasterRCNN:
    return FasterRCNN(_backbone(settings, (2, 3, 4, 5)), num_classes, loss.ignore_region_overlap)


def build_mask_rcnn(settings: NetworkSettings, num_classes: int, loss: LossSettings) -> MaskRCNN:
    return MaskRCNN(_backbone(settings, (2, 3, 4, 5)), num_classes, loss.ignore_region_overlap)


def build_retinanet(settings: NetworkSettings, num_classes: int, loss: LossSettings) -> RetinaNet:
    return RetinaNet(_backbone(settings, (3, 4, 5)), num_classes, loss.ignore_region_overlap)


def _backbone(settings: NetworkSettings, levels: tuple[int, ...]) -> AttentionResNet:
    backbone = build_backbone(settings.arch, settings.attention_spec, levels)
    prune(backbone, settings.pruned)
    return backbone


KINDS: dict[str, Callable[[NetworkSettings, int, LossSettings], DetectionModel]] = {
    "yolov3": build_yolov3,
    "faster_rcnn": build_faster_rcnn,
    "retinanet": build_retinanet,
    "mask_rcnn": build_mask_rcnn,
}
