"""RetinaNet (Lin et al., ICCV 2017) from torchvision's parts: every place of a pyramid says what it sees, in one go."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.boxes import box_iou, clip_boxes_to_image
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from data.batches import Targets
from detector.network.model import Candidates, ClassRows
from detector.network.torchvision.parts import (
    ASPECTS,
    CHANNELS,
    SIDES,
    Anchors,
    PyramidDetector,
    by_image,
    covered,
    whole,
)

_BEST_OF_LEVEL = 1000  # (place, class) pairs of a level that are looked at, the best
_STEPS = 3  # sizes of anchors to an octave


class Seen(NamedTuple):
    """Of N anchors, all levels one after the other, the finest first.

    logits [B, N, K], deltas [B, N, 4], anchors [N, 4] px, anchors of each level, (height, width) of the input.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    counts: list[int]
    size: tuple[int, int]


class RetinaNet(PyramidDetector):
    """On a backbone that gives C3 to C5; P6 is made from C5, as published."""

    def __init__(self, backbone: nn.Module, num_classes: int, ignore_overlap: float = 0.5) -> None:
        top = cast("tuple[int, ...]", backbone.channels)[-1]
        super().__init__(backbone, num_classes, LastLevelP6P7(top, CHANNELS), ignore_overlap)
        sides = tuple(tuple(int(side * 2 ** (k / _STEPS)) for k in range(_STEPS)) for side in SIDES)
        self.anchor_generator = Anchors(sides, (ASPECTS,) * len(SIDES))
        self.head = RetinaNetHead(CHANNELS, _STEPS * len(ASPECTS), num_classes)
        self.matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))

    def forward(self, images: Tensor, targets: Targets | None = None) -> Seen:
        maps = list(self.pyramid(images).values())
        said, seen = self.head(maps), whole(images)
        anchors = self.anchor_generator(seen, maps)[0]  # the same for every image
        per_place = len(anchors) // sum(one.shape[2] * one.shape[3] for one in maps)
        counts = [one.shape[2] * one.shape[3] * per_place for one in maps]
        return Seen(said["cls_logits"].float(), said["bbox_regression"].float(), anchors, counts, seen.image_sizes[0])

    def loss(self, outputs: Seen, targets: Targets) -> dict[str, Tensor]:
        count = len(outputs.logits)
        wanted = by_image(targets, count, first_label=0)
        matched = [self._match(outputs.anchors, target) for target in wanted]
        said = {"cls_logits": outputs.logits, "bbox_regression": outputs.deltas}
        parts = self.head.compute_loss(wanted, said, [outputs.anchors] * count, matched)
        box, classes = parts["bbox_regression"], parts["classification"]
        return {"box": box, "classes": classes, "total": box + classes}

    @torch.no_grad()
    def candidates(self, outputs: Seen, conf: float) -> list[Candidates]:
        return [self._of_image(outputs, *image, conf) for image in zip(outputs.logits, outputs.deltas, strict=True)]

    def class_rows(self) -> dict[str, ClassRows]:
        rows = ClassRows(groups=_STEPS * len(ASPECTS))
        return {f"head.classification_head.cls_logits.{kind}": rows for kind in ("weight", "bias")}

    def decode(self, outputs: Seen) -> tuple[Tensor, Tensor]:
        boxes = self.coder.decode_single(outputs.deltas.flatten(0, 1), outputs.anchors.repeat(len(outputs.deltas), 1))
        return clip_boxes_to_image(boxes.view(outputs.deltas.shape), outputs.size), outputs.logits.sigmoid()

    def _match(self, anchors: Tensor, target: dict[str, Tensor]) -> Tensor:
        """[N]: which object an anchor is to find; Matcher's -1 for nothing, -2 for neither right nor wrong."""
        matched = torch.full((len(anchors),), Matcher.BELOW_LOW_THRESHOLD, device=anchors.device)
        if len(target["boxes"]):
            matched = self.matcher(box_iou(target["boxes"], anchors))
        if len(target["ignore"]):
            nothing = matched == Matcher.BELOW_LOW_THRESHOLD
            spared = nothing & covered(anchors, target["ignore"], self.ignore_overlap)
            matched[spared] = Matcher.BETWEEN_THRESHOLDS
        return matched

    def _of_image(self, outputs: Seen, logits: Tensor, deltas: Tensor, conf: float) -> Candidates:
        """The best pairs of each level that score above `conf`; logits [N, K], deltas [N, 4]."""
        best, first = [], 0
        for level in logits.sigmoid().split(outputs.counts):
            scores = level.flatten()
            above = (scores > conf).nonzero()[:, 0]
            top = scores[above].topk(min(len(above), _BEST_OF_LEVEL)).indices
            best.append(first * self.num_classes + above[top])
            first += len(level)
        pair = torch.cat(best)
        row, label = pair // self.num_classes, pair % self.num_classes
        boxes = self.coder.decode_single(deltas[row], outputs.anchors[row])
        return Candidates(clip_boxes_to_image(boxes, outputs.size), logits.flatten()[pair].sigmoid(), label)
