"""YOLOv3 (Redmon & Farhadi 2018) on any backbone that returns C3, C4, C5."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.batches import Targets
from detector.network.model import Candidates, ClassRows, DetectionModel
from detector.network.settings import LossSettings
from detector.network.yolov3.boxes import Coder, decode_maps, flatten_maps, make_grid
from detector.network.yolov3.loss import DetectionLoss

_PRIOR_OBJECTS = 5.4  # objects in a KITTI frame, on average
_PRIOR_SIZE = 448  # input size for which the prior is right


def conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, BatchNorm, LeakyReLU 0.1: the only building block of neck and heads."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


def five_convs(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 squeezes, 3x3 widens, five in turn: [B, inputs, h, w] -> [B, outputs, h, w]."""
    return nn.Sequential(
        conv(inputs, outputs, 1),
        conv(outputs, 2 * outputs, 3),
        conv(2 * outputs, outputs, 1),
        conv(outputs, 2 * outputs, 3),
        conv(2 * outputs, outputs, 1),
    )


def _scaled(channels: int, width: float) -> int:
    """channels * width, rounded to a multiple of 8, which convolution kernels like."""
    return max(8, round(channels * width / 8) * 8)


class YOLOv3(DetectionModel):
    """Backbone, top-down neck, and a head at each of strides 8, 16, 32.

    backbone: module returning (C3, C4, C5), with `.channels` and `.strides`; anchors [3, 3, 2] px of the network
    input, small ones (stride 8) first; width scales the channels of neck and heads; coder says how raw maps become
    boxes and belongs to the weights; loss says what training minimises.
    """

    exact: ClassVar[tuple[str, ...]] = (*DetectionModel.exact, "anchors")
    cast_whole: ClassVar[bool] = True
    averages: ClassVar[bool] = True
    anchors: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        anchors: Tensor,
        width: float = 1.0,
        coder: Coder | None = None,
        loss: LossSettings | None = None,
    ) -> None:
        super().__init__(num_classes)
        anchors = anchors.float()
        if anchors.dim() != 3 or anchors.shape[0] != 3 or anchors.shape[2] != 2 or not bool((anchors > 0).all()):
            raise ValueError(f"anchors: need 3 levels x anchors x (width, height) > 0, got shape {list(anchors.shape)}")
        self.strides: tuple[int, ...] = tuple(cast("tuple[int, ...]", backbone.strides))
        if self.strides != (8, 16, 32):
            raise ValueError(f"backbone: YOLOv3 needs maps at strides 8, 16, 32; this one gives {self.strides}")
        self.coder = coder or Coder()
        self.register_buffer("anchors", anchors.clone())

        c3, c4, c5 = cast("tuple[int, int, int]", backbone.channels)
        n3, n4, n5 = (_scaled(channels, width) for channels in (128, 256, 512))
        outputs = anchors.shape[1] * (5 + num_classes)
        self.backbone = backbone
        self.neck5 = five_convs(c5, n5)
        self.lateral5 = conv(n5, n4, 1)
        self.neck4 = five_convs(n4 + c4, n4)
        self.lateral4 = conv(n4, n3, 1)
        self.neck3 = five_convs(n3 + c3, n3)
        self.heads = nn.ModuleList(nn.Sequential(conv(n, 2 * n, 3), nn.Conv2d(2 * n, outputs, 1)) for n in (n3, n4, n5))
        self._initialise()
        self.criterion = DetectionLoss(anchors, self.strides, num_classes, self.coder, loss)

    def _initialise(self) -> None:
        """He initialisation for the neck; heads that start at the true rate of objects and at even class odds.

        Without the prior nearly every one of 12348 predictions would first have to be talked out of objectness 0.5.
        """
        for part in (self.neck5, self.lateral5, self.neck4, self.lateral4, self.neck3, self.heads):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")
        per_level = self.anchors.shape[1]
        for head, stride in zip(self.heads, self.strides, strict=True):
            last = cast(nn.Conv2d, cast(nn.Sequential, head)[-1])
            cells = (_PRIOR_SIZE / stride) ** 2
            rate = _PRIOR_OBJECTS / len(self.heads) / (per_level * cells)  # anchors divide the objects about evenly
            odds = min(1 / self.num_classes, 0.9)
            nn.init.normal_(last.weight, std=0.01)
            bias = torch.zeros(per_level, 5 + self.num_classes)
            bias[:, 4] = math.log(rate / (1 - rate))
            bias[:, 5:] = math.log(odds / (1 - odds))
            last.bias = nn.Parameter(bias.flatten())

    def forward(self, images: Tensor, targets: Targets | None = None) -> list[Tensor]:
        """images [B, 3, H, W] RGB 0..255, uint8 or float -> raw maps [B, A*(5+K), H/s, W/s] for s in 8, 16, 32.
        It looks everywhere, whatever the targets."""
        c3, c4, c5 = self.backbone(self.normalised(images))
        p5 = self.neck5(c5)
        p4 = self.neck4(torch.cat((F.interpolate(self.lateral5(p5), scale_factor=2.0, mode="nearest"), c4), 1))
        p3 = self.neck3(torch.cat((F.interpolate(self.lateral4(p4), scale_factor=2.0, mode="nearest"), c3), 1))
        return [head(p) for head, p in zip(self.heads, (p3, p4, p5), strict=True)]

    def loss(self, outputs: Sequence[Tensor], targets: Targets) -> dict[str, Tensor]:
        return self.criterion(outputs, targets)

    @torch.no_grad()
    def candidates(self, outputs: Sequence[Tensor], conf: float) -> list[Candidates]:
        """Every (box, class) pair whose score = objectness * class probability exceeds `conf`, as YOLOv3's independent
        classes and COCO practice have it: AP judges each class by itself, so a second opinion on a box can only help.
        """
        flat = flatten_maps(outputs, self.anchors.shape[1])
        grid = make_grid([(raw.shape[2], raw.shape[3]) for raw in outputs], self.anchors.to(flat.dtype), self.strides)
        # A score cannot exceed its objectness, so one comparison of logits spares most predictions everything else.
        # The margin keeps rounding from deciding here what the exact comparison below decides.
        worth = flat[..., 4] > _logit(conf) - 1e-3
        found = []
        for predictions, kept in zip(flat, worth, strict=True):
            index = kept.nonzero()[:, 0]
            survivors = predictions[index]
            scores = survivors[:, 4:5].sigmoid() * survivors[:, 5:].sigmoid()
            boxes = self.coder.decode(survivors[:, :4], grid.take(index))
            row, label = (scores > conf).nonzero(as_tuple=True)
            found.append(Candidates(boxes[row], scores[row, label], label))
        return found

    def class_rows(self) -> dict[str, ClassRows]:
        rows = ClassRows(groups=self.anchors.shape[1], before=5)  # x, y, w, h, objectness
        return {f"heads.{k}.1.{kind}": rows for k in range(len(self.heads)) for kind in ("weight", "bias")}

    def decode(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        boxes, objectness, classes = decode_maps(outputs, self.anchors, self.strides, self.coder)
        return boxes, objectness.sigmoid()[..., None] * classes.sigmoid()


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability)) if 0 < probability < 1 else math.inf * (probability - 0.5)
