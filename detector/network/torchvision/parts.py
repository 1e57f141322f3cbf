"""What these detectors share: a feature pyramid on a backbone of ours, targets as torchvision wants them, and its parts
with two things changed. Under autocast they give float32, and a place in an ignore region is no background.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops.boxes import box_area, box_iou
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from data.batches import Targets
from detector.network.model import DetectionModel

CHANNELS = 256  # of every map of the pyramid
ASPECTS = (0.5, 1.0, 2.0)  # of anchors: height by width
SIDES = (32, 64, 128, 256, 512)  # of anchors in px of the network input, a level each
ONE_OBJECT = 0.5  # IoU from which on a proposal is an object's

Wanted = list[dict[str, Tensor]]  # image by image: boxes [n, 4], labels [n], ignore [m, 4], masks [n, H, W] if any


class PyramidDetector(DetectionModel):
    """A backbone, and a feature pyramid (Lin et al., CVPR 2017) on its maps.

    extra           makes the levels above C5
    ignore_overlap  share of a place's own area in an ignore region from which on it is not background
    """

    def __init__(self, backbone: nn.Module, num_classes: int, extra: ExtraFPNBlock, ignore_overlap: float) -> None:
        super().__init__(num_classes)
        self.backbone, self.ignore_overlap = backbone, ignore_overlap
        self.fpn = FeaturePyramidNetwork(list(cast("tuple[int, ...]", backbone.channels)), CHANNELS, extra)

    def pyramid(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """images [B, 3, H, W] -> maps [B, CHANNELS, h, w] by name, finest first: "0", "1" and on, then extra ones."""
        maps = self.backbone(self.normalised(images))
        return cast("OrderedDict[str, Tensor]", self.fpn(OrderedDict((str(k), m) for k, m in enumerate(maps))))


def whole(images: Tensor) -> ImageList:
    """The batch as torchvision takes it: what pads an image counts as part of it."""
    return ImageList(images, [(images.shape[2], images.shape[3])] * images.shape[0])


def by_image(targets: Targets | None, count: int, first_label: int) -> Wanted:
    """The targets of each of `count` images; boxes without area are passed over, labels begin at `first_label`."""
    if targets is None:
        raise ValueError("this network learns from images and targets together; give both, or call eval()")
    with_area = (targets.boxes[:, 2:] > targets.boxes[:, :2]).all(1)
    wanted = []
    for k in range(count):
        own = (targets.image == k) & with_area
        found = {
            "boxes": targets.boxes[own].float(),
            "labels": targets.labels[own] + first_label,
            "ignore": targets.ignore[targets.ignore_image == k].float(),
        }
        if targets.masks is not None:
            found["masks"] = targets.masks[own]
        wanted.append(found)
    return wanted


def covered(boxes: Tensor, regions: Tensor, share: float) -> Tensor:
    """[n]: more than `share` of a box's own area lies in one of the regions [m, 4]."""
    low = torch.maximum(boxes[:, None, :2], regions[:, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    common = (high - low).clamp_min(0).prod(-1)  # [n, m]
    return (common > share * box_area(boxes)[:, None]).any(1)


def judgeable(proposals: Tensor, target: dict[str, Tensor], share: float) -> Tensor:
    """The proposals [n, 4] without those in ignore regions that are no object's: neither right nor wrong. One stays, as
    the mean over none is no number."""
    if not len(target["ignore"]):
        return proposals
    left = ~covered(proposals, target["ignore"], share)
    if len(target["boxes"]):
        left |= box_iou(proposals, target["boxes"]).amax(1) >= ONE_OBJECT
    return proposals[left] if left.any() else proposals[:1]


class Proposals(RegionProposalNetwork):
    """torchvision's, but anchors in ignore regions are not learnt from, unless they are an object's."""

    def __init__(self, anchors: AnchorGenerator, head: RPNHead, ignore_overlap: float) -> None:
        super().__init__(
            anchors,
            head,
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 2000, "testing": 1000},
            nms_thresh=0.7,
        )
        self.ignore_overlap = ignore_overlap

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: Wanted) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, places, target in zip(labels, anchors, targets, strict=True):
            if len(target["ignore"]):
                label[(label == 0) & covered(places, target["ignore"], self.ignore_overlap)] = -1
                if (label < 0).all():  # one stays, as the mean over none is no number
                    label[:1] = 0
        return labels, boxes


class Anchors(AnchorGenerator):
    """torchvision's, in float32 whatever the maps: in bf16 a corner at 1000 px would be 4 px off."""

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        of_their_size = [torch.empty((), device=one.device).expand(one.shape) for one in feature_maps]
        return cast("list[Tensor]", super().forward(image_list, of_their_size))


class ProposalHead(RPNHead):
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(x)
        return [one.float() for one in objectness], [one.float() for one in deltas]


class BoxPredictor(FastRCNNPredictor):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()


class MaskPredictor(MaskRCNNPredictor):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, super().forward(x)).float()
