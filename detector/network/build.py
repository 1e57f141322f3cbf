"""From settings to a network."""

from __future__ import annotations

import torch

from backbones import build_backbone
from detector.network.settings import NetworkSettings
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.network import YOLOv3


def build_detector(settings: NetworkSettings, num_classes: int) -> YOLOv3:
    """The detector that the settings describe, with fresh weights."""
    backbone = build_backbone(settings.arch, settings.attention_spec)
    anchors = torch.tensor(settings.anchors, dtype=torch.float32).view(3, -1, 2)
    return YOLOv3(backbone, num_classes, anchors, settings.width, Coder(settings.xy_scale))
