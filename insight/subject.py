"""What this room looks at: a trained network, images as it wants them, and what it says of them.

The only file here that knows a task. A classifier's place is beside `Subject`: images -> logits, a finding a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.resnet import AttentionResNet
from data.resize import Geometry, fit, resize
from detector.inference.cores import thread_count
from detector.inference.decode import to_detections
from detector.inference.trained import Trained, load_trained
from detector.network.yolov3.boxes import flatten_maps
from detector.network.yolov3.network import YOLOv3
from training.checkpoint import CheckpointError
from training.precision import pick_device

Image = NDArray[np.uint8]  # [h, w, 3] RGB


@dataclass(frozen=True)
class Finding:
    """An object that a network sees, by the one raw prediction behind it (its box may be an average of several).

    logit       objectness logit + class logit of that prediction, with its graph
    row         the prediction among all N of the image; level: the head that it comes from, 0 the finest
    box         x1 y1 x2 y2 in pixels of the picture
    """

    logit: Tensor
    row: int
    level: int
    label: int
    score: float
    box: NDArray[np.float32]


class Subject:
    """A detector in float32, without folding: every module is there to be watched. Its weights take no gradient."""

    def __init__(self, trained: Trained, name: str, device: str) -> None:
        self.trained, self.name, self.device = trained, name, pick_device(device)
        self.classes, self.size = trained.classes, trained.config.size
        self.attention = str(trained.config.network.attention_spec)
        network = trained.build()
        if not isinstance(network, YOLOv3):
            raise CheckpointError(f"{trained.origin}: a {trained.config.network.kind}; only yolov3 can be looked into")
        self.network = network.float().requires_grad_(False).to(self.device)

    @property
    def backbone(self) -> AttentionResNet:
        assert isinstance(self.network.backbone, AttentionResNet)
        return self.network.backbone

    def place(self, image: Image) -> tuple[Tensor, Geometry]:
        """An image as the network's input [1, 3, H, W] uint8, and how it was put there."""
        geometry = fit((image.shape[0], image.shape[1]), self.size, self.trained.config.data.resize)
        return self.to_input(resize(image, geometry)[None]), geometry

    def to_input(self, images: NDArray[np.uint8]) -> Tensor:
        """[B, H, W, 3] of the network's size -> [B, 3, H, W] on its device."""
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)

    def findings(self, outputs: Sequence[Tensor], geometry: Geometry, conf: float, iou: float) -> list[Finding]:
        """What the network's outputs of one image say above `conf`, suppressed as everywhere, best first."""
        with torch.no_grad():
            boxes, scores = (part[0].cpu().numpy() for part in self.network.decode(outputs))
        row, label = np.nonzero(scores > conf)
        found = to_detections(boxes[row], scores[row, label], label, geometry, iou)
        predictions = flatten_maps(outputs, self.network.anchors.shape[1])[0]
        ends = np.cumsum([raw.shape[2] * raw.shape[3] * self.network.anchors.shape[1] for raw in outputs])
        findings = []
        for box, score, kept in zip(found.boxes, found.scores, found.labels, strict=True):
            same = row[(label == kept) & (scores[row, label] == score)]  # suppression keeps the score, not the box
            behind = int(same[np.abs(geometry.invert(boxes[same]) - box).sum(1).argmin()])
            logit = predictions[behind, 4] + predictions[behind, 5 + kept]
            level = int(np.searchsorted(ends, behind, side="right"))
            findings.append(Finding(logit, behind, level, int(kept), float(score), box))
        return findings

    @torch.no_grad()
    def scores(self, images: Tensor, finding: Finding) -> NDArray[np.float32]:
        """The score [B] of a finding's prediction and class in other inputs [B, 3, H, W]."""
        scores = self.network.decode(self.network(images))[1][:, finding.row, finding.label]
        return scores.cpu().numpy()


def open_subjects(paths: Sequence[Path], device: str) -> list[Subject]:
    """The networks in these checkpoints, each with a name of its own."""
    if twice := [path for k, path in enumerate(paths) if path in paths[:k]]:
        raise ValueError(f"{twice[0]}: given twice; each row of a comparison needs weights of its own")
    torch.set_num_threads(thread_count(None))
    return [Subject(load_trained(path), name, device) for path, name in zip(paths, short_names(paths), strict=True)]


def short_names(paths: Iterable[Path]) -> list[str]:
    """The file's name without its ending; `best` and `last` of a run by the run's; in full where two would be alike."""
    paths = list(paths)
    short = [path.absolute().parent.name if path.stem in ("best", "last") else path.stem for path in paths]
    return [name if short.count(name) == 1 else str(path) for path, name in zip(paths, short, strict=True)]
