"""Settings of the network and its loss. `detector/config.py` composes them with the rest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from backbones.attention import CATALOGUE
from backbones.names import Coverage, Placement
from backbones.pruned import check_pruned
from backbones.resnet import ARCHS, check_backbone
from backbones.spec import AttentionSpec, option_parameters, split
from data.settings import Settings

# k-means by shape IoU (mean 0.719) over the objects of the KITTI train split, frames stretched to 448 x 448.
KITTI_ANCHORS = ((10, 24), (7, 60), (15, 36), (28, 41), (20, 63), (40, 71), (24, 173), (63, 118), (102, 214))


class NetworkSettings(Settings):
    """Which network to build: a ResNet with channel attention under YOLOv3's neck and heads."""

    kind: Literal["yolov3"] = Field(default="yolov3", description="detector on top of the backbone")
    arch: str = Field(default="resnet18", description=f"backbone: {', '.join(ARCHS)}")
    attention: str = Field(
        default="emca-se",
        description=f"attention of the backbone, NAME[:option=value,...]: {', '.join(CATALOGUE)}",
    )
    placement: Placement = Field(default="first", description="blocks of a stage that carry attention")
    coverage: Coverage = Field(default="1,N", description="earlier maps that feed an emca attention (EMCA, eq. 5)")
    residual_gate: bool = Field(default=False, description="scale by 1+Z instead of Z in emca attentions")
    width: float = Field(default=1.0, gt=0, le=4, description="channels of neck and heads, relative to Redmon's YOLOv3")
    xy_scale: float = Field(
        default=1.0, ge=1, le=3, description="reach of a box centre, in cells: 1 its own, 2 half a cell beyond it"
    )
    anchors: tuple[tuple[float, float], ...] = Field(
        default=KITTI_ANCHORS,
        description="(width, height) in px of the network input, smallest first; a third each for strides 8, 16, 32",
    )

    pretrained: str | None = Field(
        default=None,
        description="start the backbone from these weights: a file, or imagenet (torchvision downloads it)",
    )
    pruned: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="channels cut from a block's residual branch, {layer4.0: [3, 17]}: python -m insight.prune",
    )

    @model_validator(mode="after")
    def _backbone_exists(self) -> NetworkSettings:
        check_backbone(self.arch, self.attention_spec)
        name, _ = split(self.attention)
        if self.residual_gate and "residual_gate" not in option_parameters(name):
            having = [other for other in CATALOGUE if "residual_gate" in option_parameters(other)]
            raise ValueError(f"residual_gate (1 + z) belongs to {' | '.join(having)}; {name!r} has none")
        return self

    @model_validator(mode="after")
    def _can_be_pruned(self) -> NetworkSettings:
        if self.pruned and self.pretrained:
            raise ValueError("pretrained weights are of a whole backbone: start a pruned one with train.start instead")
        if self.pruned:
            check_pruned(self.arch, self.attention_spec, self.pruned)
        return self

    @property
    def attention_spec(self) -> AttentionSpec:
        """`attention` with the three settings beside it, for the options that its text does not give."""
        beside = {"placement": self.placement, "coverage": self.coverage, "residual_gate": self.residual_gate}
        return AttentionSpec.parse(self.attention, otherwise=beside)

    @field_validator("anchors")
    @classmethod
    def _anchors_fit_three_levels(cls, anchors: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if not anchors or len(anchors) % 3:
            raise ValueError(f"{len(anchors)} anchors do not divide over 3 levels; give 9 pairs [width, height]")
        if any(side <= 0 for pair in anchors for side in pair):
            raise ValueError("an anchor has a side of 0 or less; give pixels of the network input")
        return anchors


class LossSettings(Settings):
    """How raw maps are compared with objects. The parts are sums per image, averaged over the batch."""

    kind: Literal["yolov3", "ciou"] = Field(default="yolov3", description="box loss: Redmon's, or complete IoU")
    assignment: Literal["best", "neighbours"] = Field(
        default="best", description="one cell of the best anchor, or also neighbouring cells of every fitting anchor"
    )
    max_anchor_ratio: float = Field(default=4.0, gt=1, description="neighbours: an anchor fits up to this side ratio")
    ignore_iou: float = Field(
        default=0.7, ge=0, le=1, description="a prediction with more IoU to any object is not punished; 1 punishes all"
    )
    ignore_region_overlap: float = Field(
        default=0.5, ge=0, le=1, description="a prediction with more of its area in an ignore region is not punished"
    )
    gain: float = Field(
        default=0.01, gt=0, description="multiplies the loss: rate 0.1 at gain 0.01 is Redmon's 0.001 on the plain sum"
    )
    box: float = Field(default=1.0, ge=0, description="weight of the box part")
    objectness: float = Field(default=1.0, ge=0, description="weight of the objectness part")
    classes: float = Field(default=1.0, ge=0, description="weight of the class part")
    balance: tuple[float, float, float] = Field(
        default=(1.0, 1.0, 1.0), description="weights of objectness at strides 8, 16, 32"
    )
    objectness_iou_target: bool = Field(
        default=False, description="train objectness of a positive towards its box's IoU instead of 1"
    )
