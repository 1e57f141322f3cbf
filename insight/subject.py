"""What this room looks at: a trained network, pictures as it wants them, and what it says of them.

The only file here that knows how tasks differ in this. A finding is an object for a detector, a class for a classifier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones.resnet import AttentionResNet
from classifier.network import Classifier
from classifier.trained import Trained as TrainedClassifier
from classifier.trained import trained_of as classifier_of
from data.classification import judged
from data.resize import Geometry, fit, resize
from detector.inference.cores import thread_count
from detector.inference.decode import to_detections
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import Trained as TrainedDetector
from detector.inference.trained import load_trained
from detector.inference.trained import trained_of as detector_of
from detector.inference.weights import SHIPPED
from detector.network.yolov3.boxes import flatten_maps
from detector.network.yolov3.network import YOLOv3
from insight.frames import Frames, Image, of_pictures, of_split
from training.checkpoint import CheckpointError, load_checkpoint
from training.precision import pick_device

Trained = TrainedDetector | TrainedClassifier
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Finding:
    """What a network sees in a picture.

    logit       y of Grad-CAM, with its graph; detectors: objectness logit + class logit of the one raw prediction
                behind an object (its box may be an average of several)
    row         the prediction among all N of the picture; level: the head that it comes from, 0 the finest
    box         x1 y1 x2 y2 in pixels of the picture
    """

    logit: Tensor
    row: int
    level: int
    label: int
    score: float
    box: NDArray[np.float32]


class Subject(ABC):
    """A network in float32, without folding: every module is there to be watched. Its weights take no gradient."""

    finds_boxes: ClassVar[bool]
    trained: Trained
    network: nn.Module

    def __init__(self, trained: Trained, name: str, device: str) -> None:
        self.trained, self.name, self.device = trained, name, pick_device(device)
        self.classes, self.size = trained.classes, trained.config.size
        self.attention = str(trained.config.network.attention_spec)
        self.network = trained.build().float().requires_grad_(False).to(self.device)

    @property
    def backbone(self) -> AttentionResNet:
        backbone = self.network.backbone
        assert isinstance(backbone, AttentionResNet)
        return backbone

    @abstractmethod
    def seen(self, image: Image) -> Image:
        """The part of a picture that is looked at: maps lie over this."""

    @abstractmethod
    def geometry(self, seen: Image) -> Geometry:
        """How that part becomes the network's input."""

    def place(self, image: Image) -> tuple[Tensor, Geometry]:
        """A picture as the network's input [1, 3, H, W] uint8, and how what is seen of it was put there."""
        seen = self.seen(image)
        geometry = self.geometry(seen)
        return self.to_input(resize(seen, geometry)[None]), geometry

    def to_input(self, images: NDArray[np.uint8]) -> Tensor:
        """[B, H, W, 3] of the network's size -> [B, 3, H, W] on its device."""
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)

    @abstractmethod
    def watched(self, layer: str) -> tuple[nn.Module, tuple[int, ...]]:
        """Whose output is A for C3, C4, C5 or `level`, and for a finding of level k which of its maps."""

    @abstractmethod
    def findings(
        self, outputs: Sequence[Tensor], geometry: Geometry, conf: float, iou: float, classes: Sequence[str] = ()
    ) -> list[Finding]:
        """What the network's outputs of one picture say, of these classes where some are given, best first."""

    @abstractmethod
    def scores(self, images: Tensor, finding: Finding) -> NDArray[np.float32]:
        """The score [B] of the same finding in other inputs [B, 3, H, W]."""

    @abstractmethod
    def splits(self) -> tuple[str, str]:
        """The names of those to train on and to validate on."""

    @abstractmethod
    def frames(self, root: Path, split: str, most: int | None) -> Frames:
        """At most `most` pictures of a split, evenly spread over it."""


class DetectorSubject(Subject):
    finds_boxes: ClassVar[bool] = True
    trained: TrainedDetector
    network: YOLOv3

    def __init__(self, trained: TrainedDetector, name: str, device: str) -> None:
        super().__init__(trained, name, device)
        if not isinstance(self.network, YOLOv3):
            raise CheckpointError(f"{trained.origin}: a {trained.config.network.kind}; only yolov3 can be looked into")

    def backend(self) -> TorchBackend:
        """The detector as it is run, with weights of its own: folded, in float32."""
        return TorchBackend(
            self.trained.build(), self.classes, self.trained.config.data.resize, self.size, self.device, "fp32"
        )

    def seen(self, image: Image) -> Image:
        return image

    def geometry(self, seen: Image) -> Geometry:
        return fit((seen.shape[0], seen.shape[1]), self.size, self.trained.config.data.resize)

    def watched(self, layer: str) -> tuple[nn.Module, tuple[int, ...]]:
        which = {"C3": (0, 0, 0), "C4": (1, 1, 1), "C5": (2, 2, 2), "level": (0, 1, 2)}
        return self.backbone, which[layer]  # which gives them all

    def findings(
        self, outputs: Sequence[Tensor], geometry: Geometry, conf: float, iou: float, classes: Sequence[str] = ()
    ) -> list[Finding]:
        """Above `conf`, suppressed as everywhere."""
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
        return [finding for finding in findings if not classes or self.classes[finding.label] in classes]

    @torch.no_grad()
    def scores(self, images: Tensor, finding: Finding) -> NDArray[np.float32]:
        scores = self.network.decode(self.network(images))[1][:, finding.row, finding.label]
        return scores.cpu().numpy()

    def splits(self) -> tuple[str, str]:
        return "train", "val"

    def frames(self, root: Path, split: str, most: int | None) -> Frames:
        return of_split(root, split, most)


class ClassifierSubject(Subject):
    """Looks at the part of a picture that is judged, at the network's size."""

    finds_boxes: ClassVar[bool] = False
    trained: TrainedClassifier
    network: Classifier

    def seen(self, image: Image) -> Image:
        return judged(image, self.size, self.trained.config.data)

    def geometry(self, seen: Image) -> Geometry:
        return fit(self.size, self.size, "stretch")

    def watched(self, layer: str) -> tuple[nn.Module, tuple[int, ...]]:
        stage = {"C3": 1, "C4": 2, "C5": 3, "level": 3}[layer]
        return self.backbone.stage_attention[stage], (0,)  # what a stage gives passes here, attention or not

    def findings(
        self, outputs: Sequence[Tensor], geometry: Geometry, conf: float, iou: float, classes: Sequence[str] = ()
    ) -> list[Finding]:
        """The class that the network names, or the given ones, whatever their scores."""
        (logits,) = outputs
        scores = logits.detach().softmax(0).cpu().numpy()
        labels = [self.classes.index(name) for name in classes] or [int(scores.argmax())]
        whole = np.array([0, 0, geometry.source[1], geometry.source[0]], np.float32)
        found = [Finding(logits[label], 0, 0, label, float(scores[label]), whole) for label in labels]
        return sorted(found, key=lambda finding: -finding.score)

    @torch.no_grad()
    def scores(self, images: Tensor, finding: Finding) -> NDArray[np.float32]:
        return self.logits(images).softmax(1)[:, finding.label].cpu().numpy()

    def logits(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, K]"""
        logits = self.network(images)
        assert isinstance(logits, Tensor)  # two only in train mode
        return logits

    def splits(self) -> tuple[str, str]:
        return self.trained.config.data.train_split, self.trained.config.data.val_split

    def frames(self, root: Path, split: str, most: int | None) -> Frames:
        return of_pictures(root, split, self.classes, most)


def open_subjects(paths: Sequence[Path], device: str) -> list[Subject]:
    """The networks in these checkpoints, each with a name of its own."""
    if twice := [path for k, path in enumerate(paths) if path in paths[:k]]:
        raise ValueError(f"{twice[0]}: given twice; each row of a comparison needs weights of its own")
    torch.set_num_threads(thread_count(None))
    return [open_subject(path, name, device) for path, name in zip(paths, short_names(paths), strict=True)]


def open_subject(path: Path, name: str, device: str) -> Subject:
    if str(path) in SHIPPED:
        return DetectorSubject(load_trained(path), name, device)
    checkpoint = load_checkpoint(path)
    is_classifier = checkpoint.task == "classification"
    return subject_of(classifier_of(checkpoint, path) if is_classifier else detector_of(checkpoint, path), name, device)


def subject_of(trained: Trained, name: str, device: str) -> Subject:
    if isinstance(trained, TrainedClassifier):
        return ClassifierSubject(trained, name, device)
    return DetectorSubject(trained, name, device)


def frames_for(subjects: Sequence[Subject], root: Path, split: str | None, most: int | None) -> Frames:
    """Pictures of a data set that all of these networks know; of the split to validate on where none is named."""
    first = subjects[0]
    for other in subjects[1:]:
        if type(other) is not type(first) or (not first.finds_boxes and other.classes != first.classes):
            one, two = other.trained.origin, first.trained.origin
            raise ValueError(f"{one}: its task or its classes are not those of {two}; give them one at a time")
    return first.frames(root, split or first.splits()[1], most)


def short_names(paths: Iterable[Path]) -> list[str]:
    """The file's name without its ending; `best` and `last` of a run by the run's; in full where two would be alike."""
    paths = list(paths)
    short = [path.absolute().parent.name if path.stem in ("best", "last") else path.stem for path in paths]
    return [name if short.count(name) == 1 else str(path) for path, name in zip(paths, short, strict=True)]
