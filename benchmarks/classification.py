"""Images a second of a classifier's training: our loop beside a plain one, and the share of time that waits for data.

    python -m benchmarks.classification --data datasets/cifar10 --config configs/cifar10.yaml --steps 20

The plain loop is written as torchvision's reference recipe is: its data set, its transforms, a DataLoader, autocast,
SGD. Network, crops, batch, precision and workers are the same. The two take turns, each a stretch of steps at a time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import v2

from backbones.pixels import MEAN, STD
from classifier.config import Config
from classifier.task import ClassificationTask
from data.pictures import CIFAR
from training.distributed import World
from training.precision import autocast, pick_device, pick_precision
from training.trainer import Trainer

Stretch = tuple[float, float]  # seconds a step, the share of them that waited for data


class Ours:
    """The loop of train.py."""

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        self.trainer = Trainer(ClassificationTask(config), folder, World(device=device))
        self.batches = self._endless()

    def _endless(self) -> Iterator[list]:
        while True:
            yield from self.trainer.micro_batches(0)
            self.trainer.progress.end_epoch()

    def stretch(self, steps: int) -> Stretch:
        waited, mark = 0.0, time.perf_counter()
        started = mark
        for batches in islice(self.batches, steps):
            waited += time.perf_counter() - mark
            self.trainer.step(batches)
            self.trainer.progress.step_in_epoch += 1
            mark = time.perf_counter()
        total = time.perf_counter() - started
        return total / steps, waited / total


class Plain:
    """Nothing but PyTorch and torchvision."""

    def __init__(self, config: Config, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision
        phase, data = config.phases[0], config.data
        side = phase.height_width
        crop = v2.RandomCrop(side, padding=data.padding) if data.crop == "padded" else v2.RandomResizedCrop(side)
        normalise = v2.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD])
        to_float = v2.ToDtype(torch.float32, scale=True)
        transform = v2.Compose([v2.PILToTensor(), crop, v2.RandomHorizontalFlip(data.flip), to_float, normalise])
        self.loader = DataLoader(
            _torchvisions(Path(data.root), data.train_split, transform),
            phase.batch_size,
            shuffle=True,
            num_workers=data.workers,
            drop_last=True,
            pin_memory=device.type == "cuda",
            persistent_workers=data.workers > 0,
        )
        network = ClassificationTask(config).build().backbone.train()
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(network.parameters(), config.optimizer.lr, momentum=0.9, weight_decay=1e-4)
        self.criterion = nn.CrossEntropyLoss()
        self.batches = self._endless()

    def _endless(self) -> Iterator[list[torch.Tensor]]:
        while True:
            yield from self.loader

    def stretch(self, steps: int) -> Stretch:
        waited, mark = 0.0, time.perf_counter()
        started = mark
        for images, labels in islice(self.batches, steps):
            waited += time.perf_counter() - mark
            moved = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            with autocast(self.device, self.precision):
                logits = self.network(moved)
            loss = self.criterion(logits.float(), labels.to(self.device, non_blocking=True))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
            mark = time.perf_counter()
        total = time.perf_counter() - started
        return total / steps, waited / total


def _torchvisions(root: Path, split: str, transform: v2.Compose) -> Dataset:
    if (root / CIFAR).is_dir():
        return CIFAR10(str(root), train=split == "train", transform=transform)
    return ImageFolder(str(root / split), transform=transform)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classification", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/cifar10.yaml", help="recipe of both loops (default: %(default)s)")
    parser.add_argument("--data", required=True, help="class folders, or the folder that holds CIFAR-10")
    parser.add_argument("--steps", type=int, default=20, help="steps of a stretch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="stretches of each loop (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of the recipe that differ")
    options = parser.parse_args()
    device = pick_device(options.device)
    config = Config.load(options.config, [f"data.root={options.data}", *options.overrides])
    precision = pick_precision(config.train.precision, device)
    config = config.override([f"train.precision={precision}"])
    with tempfile.TemporaryDirectory() as folder:
        loops: dict[str, Ours | Plain] = {"ours": Ours(config, Path(folder), device)}
        loops["plain"] = Plain(config, device, precision)
        found: dict[str, list[Stretch]] = {name: [] for name in loops}
        for round_number in range(options.rounds + 1):
            for name, loop in loops.items():
                stretch = loop.stretch(options.steps)
                if round_number:  # the first warms up
                    found[name].append(stretch)
    batch, network = config.phases[0].batch_size, config.network
    print(f"{network.arch} {network.attention}, {network.stem} stem, {config.size[0]} px, batch {batch}, ", end="")
    print(f"{precision} on {device}, {torch.get_num_threads()} threads, {config.data.workers} workers; medians\n")
    print(f"{'':8}{'images/s':>10}{'waiting':>10}")
    for name, stretches in found.items():
        rate, waiting = (statistics.median(values) for values in zip(*stretches, strict=True))
        print(f"{name:8}{batch / rate:10.1f}{waiting:10.1%}")


if __name__ == "__main__":
    main()
