"""Faster R-CNN (Ren et al. 2015) and Mask R-CNN (He et al. 2017) with a feature pyramid, from torchvision's parts.

A proposal network looks at all places and names the best; heads look at these again, say what each is and correct its
box. Which proposals they learn from depends on the targets, so training gives images and targets together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.boxes import clip_boxes_to_image, remove_small_boxes
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from data.batches import Targets
from detector.network.model import Candidates, ClassRows
from detector.network.torchvision.parts import (
    ASPECTS,
    CHANNELS,
    ONE_OBJECT,
    SIDES,
    Anchors,
    BoxPredictor,
    MaskPredictor,
    ProposalHead,
    Proposals,
    PyramidDetector,
    by_image,
    judgeable,
    whole,
)

_NAMES = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "proposals",
    "loss_classifier": "classes",
    "loss_box_reg": "box",
    "loss_mask": "mask",
}
_LEVELS = ["0", "1", "2", "3"]  # of the pyramid, for the heads; the fifth is for large proposals only
_DRAWN = 100  # objects of an image that COCO's AP looks at
_SMALLEST = 0.01  # px: what a corrected box may not be smaller than


class Judged(NamedTuple):
    """The heads' word on the proposals of a batch: boxes [n, 4], class logits [n, 1 + K] (the first says "nothing") and
    corrections [n, 4 * (1 + K)], image by image; the maps and the (height, width) they were made from."""

    proposals: list[Tensor]
    logits: list[Tensor]
    deltas: list[Tensor]
    maps: OrderedDict[str, Tensor]
    size: tuple[int, int]


class FasterRCNN(PyramidDetector):
    """On a backbone that gives C2 to C5.

    forward, in training   the losses by torchvision's names
    forward, else          Judged
    """

    def __init__(self, backbone: nn.Module, num_classes: int, ignore_overlap: float = 0.5) -> None:
        super().__init__(backbone, num_classes, LastLevelMaxPool(), ignore_overlap)
        anchors = Anchors(tuple((side,) for side in SIDES), (ASPECTS,) * len(SIDES))
        self.rpn = Proposals(anchors, ProposalHead(CHANNELS, len(ASPECTS)), ignore_overlap)
        self.roi_heads = RoIHeads(
            MultiScaleRoIAlign(_LEVELS, output_size=7, sampling_ratio=2),
            TwoMLPHead(CHANNELS * 7**2, 1024),
            BoxPredictor(1024, 1 + num_classes),
            fg_iou_thresh=ONE_OBJECT,
            bg_iou_thresh=ONE_OBJECT,
            batch_size_per_image=512,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.0,  # these three are for inference, which `candidates` and suppression do
            nms_thresh=1.0,
            detections_per_img=0,
        )

    def forward(self, images: Tensor, targets: Targets | None = None) -> dict[str, Tensor] | Judged:
        maps, seen = self.pyramid(images), whole(images)
        if not self.training:
            proposals, _ = self.rpn(seen, maps)
            return self._judge(maps, proposals, seen.image_sizes)
        wanted = by_image(targets, len(images), first_label=1)
        proposals, losses = self.rpn(seen, maps, wanted)
        proposals = [judgeable(*pair, self.ignore_overlap) for pair in zip(proposals, wanted, strict=True)]
        _, of_heads = self.roi_heads(maps, proposals, seen.image_sizes, wanted)
        return {**losses, **of_heads}

    def loss(self, outputs: dict[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        parts = {name: outputs[theirs] for theirs, name in _NAMES.items() if theirs in outputs}
        return parts | {"total": torch.stack(list(parts.values())).sum()}

    @torch.no_grad()
    def candidates(self, outputs: Judged, conf: float) -> list[Candidates]:
        found = []
        for proposals, logits, deltas in zip(outputs.proposals, outputs.logits, outputs.deltas, strict=True):
            scores = logits.softmax(-1)[:, 1:]
            row, label = (scores > conf).nonzero(as_tuple=True)
            boxes = self.roi_heads.box_coder.decode(deltas, [proposals])  # [n, 1 + K, 4]
            boxes = clip_boxes_to_image(boxes[row, 1 + label], outputs.size)
            kept = remove_small_boxes(boxes, _SMALLEST)
            found.append(Candidates(boxes[kept], scores[row, label][kept], label[kept]))
        return found

    def class_rows(self) -> dict[str, ClassRows]:
        of_scores, of_boxes = ClassRows(before=1), ClassRows(before=1, rows=4)
        return {
            f"roi_heads.box_predictor.{layer}.{kind}": rows
            for layer, rows in (("cls_score", of_scores), ("bbox_pred", of_boxes))
            for kind in ("weight", "bias")
        }

    def decode(self, outputs: Judged) -> tuple[Tensor, Tensor]:
        raise ValueError(
            f"{type(self).__name__} cannot be exported: how many proposals it judges differs from image to image; "
            "run its .pt as it is, or train network.kind=retinanet or yolov3, which can be exported"
        )

    def layers(self, images: Tensor) -> Tensor:
        """With as many proposals as there can be. Their pooling has no layers."""
        maps = self.pyramid(images)
        self.rpn.head(list(maps.values()))
        proposals = maps["0"].new_zeros(self.rpn.post_nms_top_n(), CHANNELS, *self.roi_heads.box_roi_pool.output_size)
        logits, _ = self.roi_heads.box_predictor(self.roi_heads.box_head(proposals))
        return cast(Tensor, logits)

    def _judge(self, maps: OrderedDict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]) -> Judged:
        heads, counts = self.roi_heads, [len(boxes) for boxes in proposals]
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, sizes)))
        return Judged(proposals, list(logits.split(counts)), list(deltas.split(counts)), maps, sizes[0])


class MaskRCNN(FasterRCNN):
    """Faster R-CNN with a third head, which draws each object that the others have found."""

    draws: ClassVar[bool] = True

    def __init__(self, backbone: nn.Module, num_classes: int, ignore_overlap: float = 0.5) -> None:
        super().__init__(backbone, num_classes, ignore_overlap)
        self.roi_heads.mask_roi_pool = MultiScaleRoIAlign(_LEVELS, output_size=14, sampling_ratio=2)
        self.roi_heads.mask_head = MaskRCNNHeads(CHANNELS, (256, 256, 256, 256), dilation=1)
        self.roi_heads.mask_predictor = MaskPredictor(256, 256, 1 + num_classes)

    def forward(self, images: Tensor, targets: Targets | None = None) -> dict[str, Tensor] | Judged:
        if self.training and targets is not None and targets.masks is None and len(targets.boxes):
            raise ValueError(
                "network.kind=mask_rcnn learns from masks, and these labels have none: "
                "use COCO's files with segmentations, or network.kind=faster_rcnn"
            )
        return super().forward(images, targets)

    def layers(self, images: Tensor) -> Tensor:
        found = self.mean.new_zeros(_DRAWN, CHANNELS, *self.roi_heads.mask_roi_pool.output_size)
        self.roi_heads.mask_predictor(self.roi_heads.mask_head(found))
        return super().layers(images)

    @torch.no_grad()
    def shapes(self, outputs: Judged, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        heads = self.roi_heads
        maps = {name: values.float() for name, values in outputs.maps.items()}  # after autocast the boxes alone are
        pooled = heads.mask_roi_pool(maps, list(boxes), [outputs.size] * len(boxes))
        logits = heads.mask_predictor(heads.mask_head(pooled))  # [all boxes, 1 + K, M, M]
        return [one[:, 0] for one in maskrcnn_inference(logits, [one + 1 for one in labels])]

    def class_rows(self) -> dict[str, ClassRows]:
        of_masks = {
            f"roi_heads.mask_predictor.mask_fcn_logits.{kind}": ClassRows(before=1) for kind in ("weight", "bias")
        }
        return super().class_rows() | of_masks
