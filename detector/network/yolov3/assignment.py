"""Which prediction answers for which object, and which predictions are left in peace.

Two rules. `best` (YOLOv3): of all anchors the one whose shape has the highest IoU with the object, at the cell that
holds the object's centre. `neighbours`: every anchor whose sides differ from the object's by less than a ratio (the
best one where none does), at that cell and at the nearer neighbour cell in x and in y.

Where several objects want the same prediction, an object in its own cell goes before a neighbour, then the higher
shape IoU wins, then the earlier row. Positives win over ignore regions: a labelled object is wanted wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data.batches import Targets
from detector.network.settings import LossSettings

_MAX_PAIRS = 2**24  # prediction-object pairs compared at once: 64 MiB a temporary


@dataclass(frozen=True, slots=True)
class Assignment:
    """P positives: prediction `index` [P] of image `image` [P] answers for row `row` [P] of the targets and carries
    `share` [P] of that object (its shares sum to 1). negative [B, N]: predictions that should say "nothing here".
    """

    image: Tensor
    index: Tensor
    row: Tensor
    share: Tensor
    negative: Tensor


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """IoU of boxes [n, 2] and anchors [a, 2] (width, height) laid on a common centre -> [n, a]."""
    overlap = torch.minimum(sizes[:, None], anchors).prod(-1)
    return overlap / (sizes.prod(-1)[:, None] + anchors.prod(-1) - overlap)


def positives(
    targets: Targets,
    anchors: Tensor,
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    rule: str,
    max_ratio: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(image, index, row), each [P], of the predictions that answer for an object; no prediction appears twice.

    anchors [L, A, 2] px; sizes: (h, w) of each level. Objects without area are passed over.
    """
    levels, per_level = anchors.shape[:2]
    device = anchors.device
    grid_size = torch.tensor([(w, h) for h, w in sizes], device=device).repeat_interleave(per_level, 0)  # [L*A, 2]
    stride = torch.tensor(strides, device=device).repeat_interleave(per_level)[:, None]  # [L*A, 1]
    counts = [h * w * per_level for h, w in sizes]
    starts = torch.tensor([sum(counts[:level]) for level in range(levels)], device=device).repeat_interleave(per_level)

    boxes = targets.boxes.to(anchors.dtype)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    likeness = shape_iou(size, anchors.flatten(0, 1))  # [n, L*A]
    chosen = F.one_hot(likeness.argmax(1), levels * per_level).bool()
    if rule == "neighbours":
        ratio = size[:, None] / anchors.flatten(0, 1)
        fits = torch.maximum(ratio, 1 / ratio).amax(-1) < max_ratio
        chosen = torch.where(fits.any(1, keepdim=True), fits, chosen)
    chosen &= (size > 0).all(1, keepdim=True)

    row, anchor = chosen.nonzero(as_tuple=True)
    place = centre[row] / stride[anchor]  # in cells
    cell = place.floor().long().clamp_min(0).minimum(grid_size[anchor] - 1)  # a centre on the far border stays inside
    priority = 2 + likeness[row, anchor]
    if rule == "neighbours":
        towards = (place - cell - 0.5).sign().long()  # [C, 2], the nearer neighbour in x and in y
        step_x, step_y = towards * torch.tensor([1, 0], device=device), towards * torch.tensor([0, 1], device=device)
        cell = torch.cat((cell, cell + step_x, cell + step_y))
        row, anchor = row.repeat(3), anchor.repeat(3)
        priority = torch.cat((priority, priority - 2, priority - 2))
        real = ((cell >= 0) & (cell < grid_size[anchor])).all(1)
        cell, row, anchor, priority = cell[real], row[real], anchor[real], priority[real]
    index = starts[anchor] + (cell[:, 1] * grid_size[anchor, 0] + cell[:, 0]) * per_level + anchor % per_level

    image = targets.image[row]
    wanted = image * sum(counts) + index
    order = priority.argsort(descending=True, stable=True)
    order = order[wanted[order].argsort(stable=True)]  # by prediction, the strongest claim first
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = wanted[order][1:] != wanted[order][:-1]
    kept = order[first]
    return image[kept], index[kept], row[kept]


def pad_by_image(boxes: Tensor, image: Tensor, batch: int) -> Tensor:
    """Flat boxes [n, 4] of images [n] -> [batch, most boxes in one image, 4], filled up with empty boxes."""
    counts = torch.bincount(image, minlength=batch)
    order = image.argsort(stable=True)
    position = torch.arange(len(image), device=image.device) - (counts.cumsum(0) - counts)[image[order]]
    padded = boxes.new_zeros(batch, int(counts.max()), 4)
    padded[image[order], position] = boxes[order]
    return padded


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersections(predictions: Tensor, boxes: Tensor) -> Tensor:
    """Areas common to predictions [B, N, 4] and boxes [B, M, 4] -> [B, N, M]."""
    a, b = predictions[:, :, None], boxes[:, None]
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return width.clamp_min_(0).mul_(height.clamp_min_(0))


def near_objects(predictions: Tensor, objects: Tensor, threshold: float) -> Tensor:
    """[B, N]: IoU of predictions [B, N, 4] with any of objects [B, M, 4] (padded) exceeds threshold."""
    common = _intersections(predictions, objects)
    # common / (a + b - common) > t, without the division: common * (1 + t) > t * (a + b)
    summed = _areas(predictions)[..., None] + _areas(objects)[:, None]
    return (common * (1 + threshold) > threshold * summed).any(-1)


def in_regions(predictions: Tensor, regions: Tensor, threshold: float) -> Tensor:
    """[B, N]: more than threshold of a prediction's own area lies in one of regions [B, M, 4] (padded)."""
    return (_intersections(predictions, regions) > threshold * _areas(predictions)[..., None]).any(-1)


@torch.no_grad()
def assign(
    predictions: Tensor,
    targets: Targets,
    anchors: Tensor,
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    settings: LossSettings,
) -> Assignment:
    """predictions: decoded boxes [B, N, 4] xyxy px of the network input; sizes: (h, w) of each level."""
    batch, count = predictions.shape[:2]
    rule, ratio = settings.assignment, settings.max_anchor_ratio
    image, index, row = positives(targets, anchors, sizes, strides, rule, ratio)
    share = 1 / torch.bincount(row, minlength=len(targets.boxes))[row].to(predictions.dtype)

    objects = pad_by_image(targets.boxes.to(predictions.dtype), targets.image, batch)
    regions = pad_by_image(targets.ignore.to(predictions.dtype), targets.ignore_image, batch)
    widest = max(objects.shape[1], regions.shape[1], 1)
    spared = []
    for part in predictions.split(max(1, _MAX_PAIRS // (batch * widest)), 1):  # one part, unless boxes are very many
        spared.append(in_regions(part, regions, settings.ignore_region_overlap))
        if settings.ignore_iou < 1:
            spared[-1] |= near_objects(part, objects, settings.ignore_iou)
    negative = torch.cat(spared, 1).logical_not_() if count else predictions.new_zeros(batch, 0, dtype=torch.bool)
    negative[image, index] = False
    return Assignment(image, index, row, share, negative)
