"""Finding objects, as the training loop asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.pretrained import load_pretrained
from backbones.weight_file import WeightsError
from data.anchors import MATCHED, anchor_pairs, box_shapes, find_anchors, fitness
from data.annotation import AUTO
from data.batches import Batch, BatchSampler, Targets, make_loader
from data.detection import DetectionDataset, open_dataset
from data.images import image_size
from data.resize import largest_input
from detector.config import Config
from detector.evaluation.validation import validate
from detector.inference.trained import about, load_trained
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from detector.network.start import start_from
from training.config import RunConfig
from training.distributed import World
from training.task import Chart, Task, Validation

ANCHOR_FRAMES = 2000  # evenly spread over the split: enough to know its shapes
POOR_RECALL = 0.75  # on KITTI its own anchors reach .93, COCO's .79


def _scale(metric: str) -> float | None:
    """COCO's figures, and KITTI's at moderate, which stands for the three levels; KITTI counts in percent."""
    if metric in ("mAP50", "AP"):
        return 1.0
    return 0.01 if metric.endswith("_moderate") else None


class DetectionTask(Task[Config]):
    name: ClassVar[str] = "detection"
    config_type: ClassVar[type[RunConfig]] = Config
    chart: ClassVar[Chart] = Chart("ap", _scale)

    def settle(self, before: Config | None) -> None:
        """data.classes=auto and network.anchors=auto become lists."""
        config = before or self.config
        if self.config.data.classes == AUTO:
            self._set("data", classes=self.classes if config.data.classes == AUTO else config.data.classes)
        if self.config.network.has_anchors and self.config.network.anchors == AUTO:
            given = config.network.anchors
            self._set("network", anchors=anchor_pairs(find_anchors(self._shapes)) if given == AUTO else given)

    def _set(self, section: str, **values: Any) -> None:
        changed = getattr(self.config, section).model_copy(update=values)
        self.config = self.config.model_copy(update={section: changed})

    @cached_property
    def _shapes(self) -> NDArray[np.float64]:
        """Width and height [n, 2] of objects to train on, at the size that is deployed."""
        train, data = self._splits[0], self.config.data
        frames = train.frames[:: -(-len(train.frames) // ANCHOR_FRAMES)]
        annotated = ((train.annotations(frame), image_size(train.image_path(frame))) for frame in frames)
        return box_shapes(annotated, train.class_set, self.config.size, data.resize)

    @cached_property
    def _splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """The training split and the validation split: both opened at once, so that a fault in either is told early."""
        data, masks = self.config.data, self.config.network.draws
        train = open_dataset(data, data.train_split, training=True, masks=masks)
        return train, open_dataset(data, data.val_split, training=False, classes=train.class_set.names, masks=masks)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._splits[0].class_set.names

    @property
    def train_count(self) -> int:
        return len(self._splits[0])

    def batches(self, sampler: BatchSampler, pin_memory: bool) -> Iterable[Batch]:
        data = self.config.data
        return make_loader(
            self._splits[0],
            sampler,
            policy=data.resize,
            augment=data.augment,
            workers=data.workers,
            pin_memory=pin_memory,
        )

    def build(self) -> DetectionModel:
        return build_detector(self.config.network, len(self.classes), self.config.loss)

    def start(self, network: Any) -> str:
        said = [self._fit_of_anchors()] if self.config.network.has_anchors else []
        if backbone := self.config.network.pretrained:
            said.insert(0, str(load_pretrained(network.backbone, backbone)))
        if whole := self.config.train.start:
            said.insert(0, self._start_from(network, whole))
        return "\n".join(said)

    def _fit_of_anchors(self) -> str:
        if not len(self._shapes):
            return "anchors: no object to hold them against"
        mean, recall = fitness(self._shapes, np.array(self.config.network.anchor_sizes))
        height, width = self.config.size
        objects = f"{len(self._shapes):,} objects at {height}x{width}"
        line = f"anchors: mean IoU {mean:.3f}, best possible recall {recall:.3f} (IoU >= {MATCHED}) over {objects}"
        if recall < POOR_RECALL:
            line += "\nwarning: these anchors fit badly; network.anchors=auto finds better ones"
        return line

    def _start_from(self, network: DetectionModel, source: str) -> str:
        trained = load_trained(source)
        arch, there = self.config.network.arch, trained.config.network.arch
        if arch != there:
            raise WeightsError(
                f"train.start={source}: a detector on {there}, this one is on {arch}: network.arch={there}"
            )
        return str(start_from(network, self.classes, trained.weights, trained.classes, source))

    def backbone(self, network: Any) -> Any:
        return network.backbone

    def inputs(self, batch: Batch) -> tuple[Tensor, Targets]:
        return batch.images, batch.targets

    def loss(self, network: Any, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = network.loss(outputs, batch.targets)
        return losses

    def example(self, count: int, size: tuple[int, int]) -> Batch:
        """Grey images with one object each."""
        height, width = largest_input(size, self.config.data.resize)
        images = torch.full((count, 3, height, width), 114, dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.5 * height]]).repeat(count, 1)
        none = torch.zeros(0, dtype=torch.int64)
        masks = torch.ones(count, height, width, dtype=torch.uint8)
        targets = Targets(box, torch.zeros(count, dtype=torch.int64), torch.arange(count), box[:0], none, masks)
        return Batch(images, targets, (), ())

    def validate(self, network: Any, precision: str, world: World) -> Validation:
        return validate(network, self._splits[1], self.config, precision, world)

    def about(self) -> dict[str, Any]:
        return about(self.config, self.classes)

    def describe(self) -> tuple[str, str]:
        network = self.config.network
        train, val = self._splits
        data = f"{len(train)} frames to train, {len(val)} to validate"
        kind = "" if network.kind == "yolov3" else f"{network.kind} on "
        return f"{kind}{network.arch} {network.attention}", data
