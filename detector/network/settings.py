"""Settings of the network and its loss. `detector/config.py` composes them with the rest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from data.annotation import AUTO
from data.settings import Settings
from training.settings import BackboneSettings

Anchors = tuple[tuple[float, float], ...]

# k-means by shape IoU (mean 0.719) over the objects of the KITTI train split, frames stretched to 448 x 448.
KITTI_ANCHORS = ((10, 24), (7, 60), (15, 36), (28, 41), (20, 63), (40, 71), (24, 173), (63, 118), (102, 214))


class NetworkSettings(BackboneSettings):
    """Which network to build: a ResNet with channel attention under the neck and heads of a detector."""

    kind: Literal["yolov3", "faster_rcnn", "retinanet", "mask_rcnn"] = Field(
        default="yolov3", description="detector on top of the backbone: YOLOv3, or one of torchvision's"
    )
    width: float = Field(
        default=1.0, gt=0, le=4, description="yolov3: channels of neck and heads, relative to Redmon's YOLOv3"
    )
    xy_scale: float = Field(
        default=1.0,
        ge=1,
        le=3,
        description="yolov3: reach of a box centre, in cells: 1 its own, 2 half a cell beyond it",
    )
    anchors: tuple[tuple[float, float], ...] | str = Field(
        default=KITTI_ANCHORS,
        description="yolov3: (width, height) in px of the network input, smallest first; a third each for strides 8, "
        "16, 32; "
        "auto: found in the training split when a run starts",
    )

    @model_validator(mode="after")
    def _starts_whole(self) -> NetworkSettings:
        if self.pruned and self.pretrained:
            raise ValueError("pretrained weights are of a whole backbone: start a pruned one with train.start instead")
        return self

    @property
    def has_anchors(self) -> bool:
        """Whether `anchors` says something of this network: torchvision's detectors have their own."""
        return self.kind == "yolov3"

    @property
    def draws(self) -> bool:
        """Whether it learns from masks."""
        return self.kind == "mask_rcnn"

    @property
    def anchor_sizes(self) -> Anchors:
        """The anchors as numbers, which the config of a run has from its start on."""
        if isinstance(self.anchors, str):
            raise ValueError("network.anchors=auto is for training, which finds them; give pairs [width, height] here")
        return self.anchors

    @field_validator("anchors")
    @classmethod
    def _anchors_fit_three_levels(cls, anchors: Anchors | str) -> Anchors | str:
        if isinstance(anchors, str):
            if anchors != AUTO:
                raise ValueError(f"{anchors!r} is neither auto nor a list of pairs [width, height]")
            return anchors
        if not anchors or len(anchors) % 3:
            raise ValueError(f"{len(anchors)} anchors do not divide over 3 levels; give 9 pairs [width, height]")
        if any(side <= 0 for pair in anchors for side in pair):
            raise ValueError("an anchor has a side of 0 or less; give pixels of the network input")
        return anchors


class LossSettings(Settings):
    """How YOLOv3's raw maps are compared with objects: the parts are sums per image, averaged over the batch.
    torchvision's detectors have losses of their own, of which only `ignore_region_overlap` is a setting."""

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
