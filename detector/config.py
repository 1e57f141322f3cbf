"""Settings of a detector's training. `python -m detector.config` prints them as a page."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from data.settings import DataSettings
from detector.network.settings import LossSettings, NetworkSettings
from training.config import RunConfig, settings_page
from training.settings import TrainSettings


class DetectorTrainSettings(TrainSettings):
    """How the loop runs, and what decides which weights are the best."""

    start: str | None = Field(
        None,
        description="start from a whole detector: a checkpoint, or the name of a shipped model (--weights help)",
    )
    best: Literal["mAP50", "AP", "Car", "Pedestrian", "Cyclist"] = Field(
        "mAP50", description="metric that chooses best.pt: COCO mAP50 or AP, or the moderate AP40 of one class"
    )


class Config(RunConfig):
    """One experiment in finding objects."""

    harmless: ClassVar[frozenset[str]] = RunConfig.harmless | {
        "train.best",
        *(f"data.{key}" for key in ("root", "cache", "cache_limit_gb", "cache_dir", "workers")),
    }

    task: Literal["detection"] = Field("detection", description="what is trained")
    name: str = Field("kitti", description="name of the run folder")
    data: DataSettings = Field(default_factory=DataSettings, description="the data set")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the detector")
    loss: LossSettings = Field(default_factory=LossSettings, description="the training loss")
    train: DetectorTrainSettings = Field(default_factory=DetectorTrainSettings, description="the loop")

    @model_validator(mode="after")
    def _one_start(self) -> Config:
        if self.train.start and self.network.pretrained:
            raise ValueError("train.start brings a backbone of its own: give it or network.pretrained, not both")
        return self

    @model_validator(mode="after")
    def _one_side_for_shorter(self) -> Config:
        for k, phase in enumerate(self.phases):
            if self.data.resize == "shorter" and len(set(phase.height_width)) > 1:
                mend = "data.resize=shorter takes one number, the shorter side"
                raise ValueError(f"phases.{k}.size {list(phase.height_width)}: {mend}; or data.resize=letterbox")
        return self

    @model_validator(mode="after")
    def _loss_fits_the_network(self) -> Config:
        if self.loss.assignment == "neighbours" and self.network.xy_scale < 2:
            raise ValueError(
                f"loss.assignment neighbours needs network.xy_scale=2 (now {self.network.xy_scale:g}): "
                "a box predicted in a neighbouring cell must be able to reach its centre"
            )
        return self

    @classmethod
    def restore(cls, values: dict[str, Any], where: str) -> Config:
        """Version 0.1 could choose the engine of augmentation; what it chose does not matter once trained."""
        data = values.get("data")
        if not isinstance(data, dict) or not isinstance(augment := data.get("augment"), dict):
            return cls.parse(values, where)
        if "task" not in values and "engine" in augment:
            left = {name: value for name, value in augment.items() if name != "engine"}
            values = {**values, "data": {**data, "augment": left}}
        return cls.parse(values, where)


if __name__ == "__main__":
    print(settings_page(Config, "python -m detector.config"))
