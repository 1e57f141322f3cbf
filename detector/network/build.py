"""From settings to a network."""

from __future__ import annotations

import torch

from backbones import build_backbone
from backbones.pruned import prune
from detector.network.model import DetectionModel
from detector.network.settings import LossSettings, NetworkSettings
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.network import YOLOv3


def build_detector(settings: NetworkSettings, num_classes: int, loss: LossSettings | None = None) -> DetectionModel:
    """The detector that the settings describe, with fresh weights; `loss` only matters to training."""
    return KINDS[settings.kind](settings, num_classes, loss)


def build_yolov3(settings: NetworkSettings, num_classes: int, loss: LossSettings | None) -> YOLOv3:
    backbone = build_backbone(settings.arch, settings.attention_spec)
    prune(backbone, settings.pruned)
    anchors = torch.tensor(settings.anchor_sizes, dtype=torch.float32).view(3, -1, 2)
    return YOLOv3(backbone, num_classes, anchors, settings.width, Coder(settings.xy_scale), loss)


KINDS = {"yolov3": build_yolov3}
