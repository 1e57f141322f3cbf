"""Naming pictures, as the training loop asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from backbones.pretrained import load_pretrained
from classifier.config import Config
from classifier.evaluation.verdicts import judge
from classifier.network import Classifier, build_classifier
from classifier.trained import about
from data.batches import BatchSampler
from data.cache import GB, CacheSpec
from data.classification import LabelledBatch, make_picture_loader
from data.pictures import Pictures, open_pictures
from training.config import RunConfig
from training.distributed import World
from training.task import Chart, Task, Validation


class ClassificationTask(Task[Config]):
    name: ClassVar[str] = "classification"
    config_type: ClassVar[type[RunConfig]] = Config
    chart: ClassVar[Chart] = Chart("accuracy", lambda metric: 1.0 if metric in ("top1", "top5") else None)

    @cached_property
    def _splits(self) -> tuple[Pictures, Pictures]:
        """Those to train on and those to validate on: both opened at once, so that a fault in either is told early."""
        data = self.config.data
        cache = CacheSpec("ram", data.cache_limit_gb * GB) if data.cache == "ram" else None
        train = open_pictures(data.root, data.train_split, cache=cache)
        return train, open_pictures(data.root, data.val_split, train.classes, cache)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._splits[0].classes

    @property
    def train_count(self) -> int:
        return len(self._splits[0].labels)

    def batches(self, sampler: BatchSampler, pin_memory: bool) -> Iterable[LabelledBatch]:
        return make_picture_loader(self._splits[0], sampler, self.config.data, training=True, pin_memory=pin_memory)

    def build(self) -> Classifier:
        return build_classifier(self.config.network, len(self.classes))

    def start(self, network: Any) -> str:
        source = self.config.network.pretrained
        return str(load_pretrained(network.backbone, source)) if source else ""

    def backbone(self, network: Any) -> Any:
        return network.backbone

    def loss(self, network: Any, outputs: Any, batch: LabelledBatch) -> dict[str, Tensor]:
        """Of the network's logits, and of those that an attention has beside them."""
        smoothing = self.config.loss.label_smoothing
        if isinstance(outputs, Tensor):
            return {"total": cross_entropy(outputs, batch.labels, label_smoothing=smoothing)}
        own, of_attention = (cross_entropy(logits, batch.labels, label_smoothing=smoothing) for logits in outputs)
        return {"class": own, "attention": of_attention, "total": own + of_attention}

    def example(self, count: int, size: tuple[int, int]) -> LabelledBatch:
        """Grey pictures of the first class."""
        images = torch.full((count, 3, *size), 114, dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        return LabelledBatch(images, torch.zeros(count, dtype=torch.int64), ())

    def validate(self, network: Any, precision: str, world: World) -> Validation:
        config = self.config
        verdicts = judge(network, self._splits[1], config.data, config.size, precision, world)
        metrics = {"top1": verdicts.top(1), "top5": verdicts.top(5), "val_loss": verdicts.loss}
        line = f"top-1 {metrics['top1']:.2f} %  top-5 {metrics['top5']:.2f} %  loss {metrics['val_loss']:.3f}"
        return Validation(metrics[config.train.best], metrics, line)

    def about(self) -> dict[str, Any]:
        return about(self.config, self.classes)

    def describe(self) -> tuple[str, str]:
        network = self.config.network
        train, val = self._splits
        data = f"{len(train.labels)} pictures of {len(train.classes)} classes to train, {len(val.labels)} to validate"
        return f"{network.arch} {network.attention}, {network.stem} stem", data
