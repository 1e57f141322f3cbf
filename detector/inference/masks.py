"""The shapes that a network draws for its detections, as masks of the original image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from data.annotation import Rle
from data.masks import encode
from data.resize import Geometry
from detector.inference.detections import Detections
from detector.network.model import DetectionModel

SURE = 0.5  # probability from which on a pixel is the object's


def with_masks(
    network: DetectionModel, outputs: Any, found: list[Detections], geometries: Sequence[Geometry]
) -> list[Detections]:
    """The detections of a batch with their masks."""
    device = network.mean.device
    boxes = [
        torch.from_numpy(geometry.apply(one.boxes)).to(device) for one, geometry in zip(found, geometries, strict=True)
    ]
    labels = [torch.from_numpy(one.labels).to(device) for one in found]
    shapes = network.shapes(outputs, boxes, labels)
    return [
        replace(one, masks=paste(drawn.float().cpu(), torch.from_numpy(one.boxes), geometry.source))
        for one, drawn, geometry in zip(found, shapes, geometries, strict=True)
    ]


def paste(shapes: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Rle, ...]:
    """Shapes [n, M, M] stretched over their boxes [n, 4] in an image of (height, width). One by one: all at once would
    take gigabytes of a large image."""
    return tuple(
        encode((paste_masks_in_image(shape[None, None], box[None], size)[0, 0] > SURE).numpy())
        for shape, box in zip(shapes, boxes, strict=True)
    )
