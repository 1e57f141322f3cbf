"""Checkpoints: written atomically, read without running anything from the file, self-contained.

A file holds a plain dict: format, config, classes, anchors, resize, normalisation, versions, metrics, `model` (the
averaged weights, the ones to use) and, in last.pt, `training` to resume from (raw weights, optimiser, random states,
position).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.formats.kitti import class_set
from detector.config import Config, ConfigError, parse_config
from detector.network.build import build_detector
from detector.network.yolov3.network import MEAN, STD, YOLOv3

FORMAT = "kitti-attention-detector/1"


class CheckpointError(OSError):
    """A checkpoint cannot be read or written; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds. `training` is empty in files made for use only."""

    config: Config
    model: Mapping[str, Tensor]
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return class_set(self.config.data.classes).names

    def build_network(self) -> YOLOv3:
        """The network with the checkpoint's weights, ready for inference."""
        network = build_detector(self.config.network, len(self.classes))
        network.load_state_dict(self.model)
        return network.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Temporary file, fsync, rename: a crash at any moment leaves the old file or the new one, never half of one."""
    content = {
        "format": FORMAT,
        "config": checkpoint.config.model_dump(mode="json"),
        "classes": list(checkpoint.classes),
        "anchors": [list(pair) for pair in checkpoint.config.network.anchors],
        "resize": {"policy": checkpoint.config.data.resize, "size": list(checkpoint.config.size)},
        "normalisation": {"mean": list(MEAN), "std": list(STD)},
        "versions": {"torch": str(torch.__version__)},
        "metrics": checkpoint.metrics,
        "model": dict(checkpoint.model),
        "training": checkpoint.training,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as fault:  # torch reports a full disk as RuntimeError
        partial.unlink(missing_ok=True)
        kept = "the previous one is intact" if path.exists() else "nothing was written"
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault).splitlines()[0]
        advice = "free some space or choose another folder"
        raise CheckpointError(f"{path}: could not be saved ({reason}); {kept}; {advice}") from None


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a file made by `save_checkpoint`; `weights_only=True`, so a stranger's file cannot run code."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; train.py writes runs/<name>/best.pt and last.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # whatever bytes a stranger wrote, the unpickler may raise anything
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise CheckpointError(f"{path}: not a checkpoint that can be loaded safely ({reason:.120})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format", "no format entry") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: not a checkpoint of this project (expected {FORMAT!r}, found {found!r:.80})")
    try:
        config = parse_config(content["config"], where=f"{path}: config")
        return Checkpoint(config, content["model"], content["metrics"], content["training"])
    except (ConfigError, KeyError) as fault:
        raise CheckpointError(f"{path}: written by a version that this one cannot read ({fault})") from None


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
