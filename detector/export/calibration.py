"""Frames for int8: those that ranges are measured on, and those that AP is compared on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.annotation import Annotation
from data.detection import DetectionDataset
from data.images import read_image
from data.resize import fit, halve, resize
from detector.inference.card import Card
from detector.inference.predictor import Image
from detector.inference.weights import WeightsError
from detector.video.frames import Selection
from detector.video.journal import Journal
from detector.video.video_file import VideoFile


class Frames(Mapping[str, Image]):
    """Frames of a split by name, evenly spread, read when they are asked for."""

    def __init__(self, dataset: DetectionDataset, count: int) -> None:
        self._dataset = dataset
        self.names = evenly(dataset.frames, count)

    def __getitem__(self, name: str) -> Image:
        return read_image(self._dataset.image_path(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def calibration_frames(source: Path, split: str, count: int) -> Mapping[str, Image]:
    """At most `count` frames, evenly spread over a split of the data set at `source`, or over a video."""
    if source.is_dir():
        return Frames(DetectionDataset(source, split, allow_missing=True), count)
    probe = VideoFile(str(source), str(source), source.stem, Selection())
    every = max(1, (probe.expected_frames() or 1) // count)
    video = VideoFile(str(source), str(source), source.stem, Selection(every=every, max_frames=count))
    try:
        return {f"{frame.index:06d}": _reduced(frame.image) for frame in video.frames(Journal(), threading.Event())}
    except OSError as fault:
        raise WeightsError(f"--calibrate {source}: {fault}; give a data set folder or a video") from None


def _reduced(image: Image) -> Image:
    """Halved until below 2560 px a side: some hundred frames are held in memory, and 4K would take gigabytes."""
    scale = 1280 / max(image.shape[:2])
    return image if scale >= 1 else halve(image, scale, scale)


def checking_frames(root: Path, split: str, count: int) -> tuple[dict[str, Sequence[Annotation]], Mapping[str, Image]]:
    """Labels and images of at most `count` frames of a split, by frame."""
    dataset = DetectionDataset(root, split, allow_missing=True)
    images = Frames(dataset, count)
    return {name: dataset.annotations(name) for name in images}, images


def network_inputs(frames: Mapping[str, Image], card: Card, batch: int = 1) -> list[NDArray[np.uint8]]:
    """The frames as the network gets them, in full batches [batch, H, W, 3]; what is left over is left out."""
    inputs = [resize(image, fit((image.shape[0], image.shape[1]), card.size, card.policy)) for image in frames.values()]
    if inputs and len(inputs) < batch:
        raise WeightsError(f"{len(inputs)} frames to calibrate on do not fill one batch of {batch}; give more --frames")
    return [np.stack(inputs[at : at + batch]) for at in range(0, len(inputs) - batch + 1, batch)]


def evenly(names: Sequence[str], count: int) -> tuple[str, ...]:
    """At most `count` of the names, from the first to the last."""
    if len(names) <= count:
        return tuple(names)
    return tuple(names[index] for index in np.linspace(0, len(names) - 1, count).round().astype(int))
