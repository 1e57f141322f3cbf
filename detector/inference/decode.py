"""Raw maps to Detections in pixels of the original images (decoded outputs of an exported graph: suppression.py).

Every (box, class) pair whose score = objectness * class probability exceeds `conf` is a candidate, as YOLOv3's
independent classes and COCO practice have it: AP judges each class by itself, so a second opinion on a box can only
help. Class-agnostic suppression keeps the best class of a box only, because the others overlap it fully.
A box that is kept is the average of itself and those that fall to it, so their errors cancel in part: with a dozen
predictions an object, all of them trained to be right, the best-scored one is seldom the best-placed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from data.resize import Geometry
from detector.inference.detections import Detections
from detector.inference.suppression import CANDIDATES
from detector.network.yolov3.boxes import flatten_maps, make_grid
from detector.network.yolov3.network import YOLOv3


@torch.no_grad()
def postprocess(
    raw_maps: Sequence[Tensor],
    network: YOLOv3,
    geometries: Sequence[Geometry],
    conf: float,
    iou: float,
    max_detections: int = 300,
    class_agnostic: bool = False,
    candidates: int = CANDIDATES,
) -> list[Detections]:
    """raw_maps: 3 x [B, A*(5+K), h, w] of `network`; geometries: how each of the B images was resized."""
    anchors = network.anchors
    flat = flatten_maps(raw_maps, anchors.shape[1])
    sizes = [(raw.shape[2], raw.shape[3]) for raw in raw_maps]
    grid = make_grid(sizes, anchors.to(flat.dtype), network.strides)
    # A score cannot exceed its objectness, so one comparison of logits spares most predictions everything else.
    # The margin keeps rounding from deciding here what the exact comparison below decides.
    worth = flat[..., 4] > _logit(conf) - 1e-3
    results = []
    for predictions, kept, geometry in zip(flat, worth, geometries, strict=True):
        index = kept.nonzero()[:, 0]
        survivors = predictions[index]
        scores = survivors[:, 4:5].sigmoid() * survivors[:, 5:].sigmoid()
        boxes = network.coder.decode(survivors[:, :4], grid.take(index))
        results.append(_suppress(boxes, scores, geometry, conf, iou, max_detections, class_agnostic, candidates))
    return results


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability)) if 0 < probability < 1 else math.inf * (probability - 0.5)


def _suppress(
    boxes: Tensor,
    scores: Tensor,
    geometry: Geometry,
    conf: float,
    iou: float,
    max_detections: int,
    class_agnostic: bool,
    candidates: int,
) -> Detections:
    """One image: boxes [n, 4], scores [n, K] -> its detections, best first."""
    row, label = (scores > conf).nonzero(as_tuple=True)
    score = scores[row, label]
    if len(score) > candidates:
        score, best = score.topk(candidates)
        row, label = row[best], label[best]
    box, group = boxes[row], torch.zeros_like(label) if class_agnostic else label
    kept = batched_nms(box, score, group, iou)[:max_detections]
    box, score, label, group = _averaged(box, score, group, kept, iou), score[kept], label[kept], group[kept]
    kept = batched_nms(box, score, group, iou)  # averages may have moved together
    height, width = geometry.source
    original = geometry.invert(box[kept].cpu().numpy())
    clipped = original.clip(0, [width, height, width, height]).astype(np.float32)
    return Detections(clipped, score[kept].float().cpu().numpy(), label[kept].cpu().numpy())


def _averaged(boxes: Tensor, scores: Tensor, groups: Tensor, kept: Tensor, iou: float) -> Tensor:
    """Boxes [k, 4] of rows `kept`, best first: each the mean of itself and of the boxes of its group that fall to it
    (they overlap it by more than `iou`, and none better), weighted by score and overlap.
    """
    overlap = box_iou(boxes[kept], boxes)  # [k, n]
    claims = (overlap > iou) & (groups[kept, None] == groups)
    claims &= claims.cumsum(0) == 1  # the first claim wins
    weight = torch.where(claims, scores * overlap, 0)
    weight[torch.arange(len(kept), device=kept.device), kept] = scores[kept]  # itself, also where it has no area
    return (weight / weight.sum(1, keepdim=True)) @ boxes
