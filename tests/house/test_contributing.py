"""The task and the format that CONTRIBUTING shows work as they stand there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data import detection
from data.annotation import Annotation, ClassSet
from training.config import RunConfig
from training.distributed import World
from training.task import Task, Validation
from training.trainer import Trainer

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


class Grey(NamedTuple):
    images: Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> Grey:
        return self


class Batches:
    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __iter__(self) -> Any:
        for requests in self.sampler:
            count, size = len(requests), requests[0].size
            yield Grey(torch.full((count, 3, *size), 100, dtype=torch.uint8), ("a",) * count)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.guess.expand(len(images))


def shown(title: str, **names: Any) -> dict[str, Any]:
    """What the one block of code below this title defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.split(f"## {title}")[1].split("\n## ")[0], re.DOTALL)
    exec("from __future__ import annotations\n" + code, names)
    return names


def test_the_task_trains(tmp_path: Path) -> None:
    names = shown("A new task", **globals())
    config = names["Brightness"](phases=({"size": 32, "epochs": 1, "batch_size": 4},), train={"precision": "fp32"})
    trainer = Trainer(names["Guess"](config), tmp_path, World())
    assert trainer.run() == 0
    assert trainer.network.guess.item() > 0


def test_the_format_gives_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = shown("A new format", Path=Path, Annotation=Annotation, ClassSet=ClassSet, Sequence=Sequence)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "one.png"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "objects.txt").write_text("one bus 1 2 30.5 20\none tram 5 5 9 9\n")
    monkeypatch.setattr(detection, "open_source", lambda root, masks: names["Lines"](root))
    dataset = detection.DetectionDataset(tmp_path, "all")
    assert dataset.class_set.names == ("bus", "tram")
    assert dataset[0].boxes.tolist() == [[1, 2, 30.5, 20], [5, 5, 9, 9]] and dataset[0].labels.tolist() == [0, 1]
    assert Literal and RunConfig and Task and Validation  # the task's block needs them
