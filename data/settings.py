"""Settings of everything between the disk and a batch. `detector/config.py` composes them with the rest."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.effects import Wanted, check


class Settings(BaseModel):
    """Base of every group of settings: immutable; a misspelt key, and a number that is not finite, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AugmentSettings(Settings):
    """Random changes of the training images. Every probability or strength at 0 switches its part off."""

    crop: float = Field(0.5, ge=0, le=1, description="probability of a random crop that keeps objects")
    crop_min_area: float = Field(0.4, gt=0, le=1, description="smallest share of the image area a crop is drawn with")
    min_visible: float = Field(
        0.3, ge=0, le=1, description="an object cut to less than this share of its box becomes an ignore region"
    )
    rotation: float = Field(3.0, ge=0, le=45, description="largest rotation, degrees either way")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    hue: float = Field(0.02, ge=0, le=0.5, description="largest hue shift, as a share of the colour circle")
    saturation: float = Field(0.4, ge=0, le=1, description="largest saturation change, as a share")
    value: float = Field(0.4, ge=0, le=1, description="largest exposure change, as a share")
    mosaic: float = Field(0.0, ge=0, le=1, description="probability of composing four frames into one")
    mixup: float = Field(0.0, ge=0, le=1, description="probability of blending two frames")
    copy_paste: float = Field(
        0.0, ge=0, le=1, description="probability of 1 to 3 objects of other frames in a frame, each class as often"
    )
    copy_paste_classes: tuple[str, ...] = Field((), description="classes whose objects are pasted; none named: all")
    albumentations: tuple[str | dict[str, dict[str, Any]], ...] = Field(
        (), description="its pixel and weather transforms, done last: [{MotionBlur: {p: 0.1}}, {RandomRain: {p: 0.05}}]"
    )

    @field_validator("albumentations")
    @classmethod
    def _can_be_done(cls, value: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
        check(value)
        return value


class DataSettings(Settings):
    """The data set and how its frames become network inputs."""

    root: str = Field("datasets/kitti", description="folder of the data set: KITTI's layout, YOLO's or COCO's")
    classes: str | tuple[str, ...] = Field(
        "kitti8", description="a list of class names, kitti8, kitti3, or auto: all that the labels to train on name"
    )
    ignore: tuple[str, ...] = Field(
        ("DontCare",), description="names of objects that are regions to ignore: neither right nor wrong"
    )
    train_split: str = Field("train", description="split to train on: train, val, all, or another the data set has")
    val_split: str = Field("val", description="split to validate on")
    resize: Literal["stretch", "letterbox", "shorter"] = Field(
        "stretch",
        description="how a frame fits the input: stretched; scaled evenly and padded; or scaled evenly until its "
        "shorter side is phases.N.size and its longer at most 5/3 of it (800, 1333), in an input just as large",
    )
    cache: Literal["none", "ram", "disk"] = Field(
        "none", description="keep decoded training images in memory or on disk (several GPUs: disk, they share it)"
    )
    cache_limit_gb: float = Field(8.0, gt=0, description="the cache never grows beyond this size")
    cache_max_side: int | None = Field(
        None, ge=32, description="keep images reduced so that the longer side is at most this; default: as they are"
    )
    cache_dir: str | None = Field(None, description="folder of the disk cache; default: ROOT/cached_images")
    workers: int = Field(2, ge=0, le=256, description="processes that prepare batches; 0: the training process itself")
    allow_missing: bool = Field(False, description="skip listed frames that are absent instead of stopping")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="random changes while training")


class PictureSettings(Settings):
    """The data set of a classifier and how its pictures become network inputs."""

    root: str = Field("datasets/imagenet", description="folder that holds SPLIT/CLASS/*, Tiny-ImageNet or CIFAR-10")
    train_split: str = Field("train", description="split to train on: a folder of ROOT")
    val_split: str = Field("val", description="split to validate on; CIFAR-10 calls it test")
    crop: Literal["resized", "padded"] = Field(
        "resized",
        description="train on random parts, resized (judge the middle), or on whole pictures, moved in a black border",
    )
    crop_min_area: float = Field(0.08, gt=0, le=1, description="resized: smallest share of the area that a part has")
    padding: int = Field(4, ge=0, le=64, description="padded: pixels of the border")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    cache: Literal["none", "ram"] = Field("none", description="keep decoded pictures in memory, those of both splits")
    cache_limit_gb: float = Field(8.0, gt=0, description="the cache of a split never grows beyond this size")
    workers: int = Field(2, ge=0, le=256, description="processes that prepare batches; 0: the training process itself")
