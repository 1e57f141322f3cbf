"""Settings of a classifier's training. `python -m classifier.config` prints them as a page."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from backbones.names import Stem
from data.settings import PictureSettings, Settings
from training.config import RunConfig, settings_page
from training.settings import BackboneSettings, TrainSettings


class NetworkSettings(BackboneSettings):
    """Which network to build: a ResNet with channel attention and its last layer."""

    classifies: ClassVar[bool] = True

    stem: Stem = Field(
        "imagenet", description="7x7 of stride 2 and a max-pool, or small: 3x3 of stride 1, for 32 and 64 pixels"
    )


class LossSettings(Settings):
    """Cross-entropy."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")


class ClassifierTrainSettings(TrainSettings):
    """How the loop runs, and what decides which weights are the best."""

    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are evaluated; 0: none")
    best: Literal["top1", "top5"] = Field("top1", description="metric that chooses best.pt")


class Config(RunConfig):
    """One experiment in naming pictures."""

    harmless: ClassVar[frozenset[str]] = RunConfig.harmless | {
        "train.best",
        *(f"data.{key}" for key in ("root", "cache", "cache_limit_gb", "workers")),
    }

    task: Literal["classification"] = Field("classification", description="what is trained")
    name: str = Field("classifier", description="name of the run folder")
    data: PictureSettings = Field(default_factory=PictureSettings, description="the data set")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the classifier")
    loss: LossSettings = Field(default_factory=LossSettings, description="the training loss")
    train: ClassifierTrainSettings = Field(default_factory=ClassifierTrainSettings, description="the loop")


if __name__ == "__main__":
    print(settings_page(Config, "python -m classifier.config"))
