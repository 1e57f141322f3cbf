"""What training minimises: YOLOv3's own loss, or one with complete IoU for the boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import complete_box_iou_loss

from data.batches import Targets
from detector.network.settings import LossSettings
from detector.network.yolov3.assignment import Assignment, assign
from detector.network.yolov3.boxes import Coder, Grid, flatten_maps, make_grid


class DetectionLoss(nn.Module):
    """loss(raw_maps, targets) -> {"box", "objectness", "classes", "total"}, scalars; total is the sum of the others.

    Every part is a sum over an image, averaged over the batch, so that accumulating gradients over micro-batches or
    ranks of equal size gives exactly the gradient of the whole batch, and an image without objects needs no special
    case. Box and class parts count each object once: an object with several positives spreads its weight over them.
    Objectness counts each prediction that is positive or negative once.
    Computed in float32 whatever the autocast (float64 stays float64).
    """

    anchors: Tensor

    def __init__(
        self,
        anchors: Tensor,
        strides: Sequence[int],
        num_classes: int,
        coder: Coder | None = None,
        settings: LossSettings | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors.detach().clone(), persistent=False)
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.coder = coder or Coder()
        self.settings = settings or LossSettings()
        if self.settings.assignment == "neighbours" and self.coder.xy_scale < 2:
            raise ValueError(
                f"loss.assignment=neighbours with network.xy_scale={self.coder.xy_scale:g}: "
                "a neighbouring cell cannot reach the object's centre; set network.xy_scale=2"
            )

    def forward(self, raw_maps: Sequence[Tensor], targets: Targets) -> dict[str, Tensor]:
        """raw_maps: 3 x [B, A*(5+K), h, w]; targets: boxes in px of the network input."""
        settings = self.settings
        flat = flatten_maps(raw_maps, self.anchors.shape[1])  # [B, N, 5+K]; nothing below is cast down by autocast
        anchors = self.anchors.to(flat.dtype)
        sizes = [(raw.shape[2], raw.shape[3]) for raw in raw_maps]
        grid = make_grid(sizes, anchors, self.strides)
        predictions = self.coder.decode(flat[..., :4].detach(), grid)
        found = assign(predictions, targets, anchors, sizes, self.strides, settings)

        positive = flat[found.image, found.index]  # [P, 5+K]
        wanted = targets.boxes.to(flat.dtype)[found.row]
        at = grid.take(found.index)
        image_area = float(sizes[0][0] * sizes[0][1] * self.strides[0] ** 2)
        if settings.kind == "ciou":
            box = self._ciou(positive, wanted, at)
        else:
            box = self._redmon(positive, wanted, at, image_area)
        classes = F.one_hot(targets.labels[found.row], self.num_classes).to(flat.dtype)
        class_loss = F.binary_cross_entropy_with_logits(positive[:, 5:], classes, reduction="none").sum(1)

        objectness = self._objectness(flat[..., 4], predictions, wanted, found, sizes)
        per_image = settings.gain / flat.shape[0]
        parts = {
            "box": settings.box * per_image * (found.share * box).sum(),
            "objectness": settings.objectness * per_image * objectness,
            "classes": settings.classes * per_image * (found.share * class_loss).sum(),
        }
        return parts | {"total": parts["box"] + parts["objectness"] + parts["classes"]}

    def _redmon(self, positive: Tensor, wanted: Tensor, at: Grid, image_area: float) -> Tensor:
        """[P]: (2 - w h / W H) * (BCE(x) + BCE(y) + (tw - tw*)^2 / 2 + (th - th*)^2 / 2).

        The factor makes small boxes count up to twice; halves give darknet's gradients (t - t*).
        """
        share, size = self.coder.fractions(wanted, at)
        xy = F.binary_cross_entropy_with_logits(positive[:, :2], share, reduction="none").sum(1)
        wh = (positive[:, 2:4] - size).square().sum(1) / 2
        area = (wanted[:, 2:] - wanted[:, :2]).prod(1)
        return (2 - area / image_area) * (xy + wh)

    def _ciou(self, positive: Tensor, wanted: Tensor, at: Grid) -> Tensor:
        """[P]: 1 - CIoU (Zheng et al. 2020), of boxes in px."""
        return complete_box_iou_loss(self.coder.decode(positive[:, :4], at), wanted)

    def _objectness(
        self, logits: Tensor, predictions: Tensor, wanted: Tensor, found: Assignment, sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """BCE over positives (towards 1, or their IoU) and negatives (towards 0), summed over [B, N]."""
        target = torch.zeros_like(logits)
        weight = found.negative.to(logits.dtype)
        weight[found.image, found.index] = 1
        if self.settings.objectness_iou_target:
            target[found.image, found.index] = paired_iou(predictions[found.image, found.index], wanted)
        else:
            target[found.image, found.index] = 1
        if self.settings.balance != (1, 1, 1):
            counts = torch.tensor([h * w * self.anchors.shape[1] for h, w in sizes], device=logits.device)
            weight = weight * logits.new_tensor(self.settings.balance).repeat_interleave(counts)
        return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes a [P, 4] with boxes b [P, 4], row by row -> [P]."""
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(1)
    return common / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common)
