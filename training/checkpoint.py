"""Checkpoints: written whole or not at all, read without running anything from the file, self-contained.

A file holds a plain dict: format, task, config, what the task adds (`about`, for example class names), versions,
metrics, `model` (the averaged weights, the ones to use) and, in last.pt, `training` to resume from (raw weights,
optimiser, random states, position). Files of version 0.1 name no task: they are detectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones.weight_file import WeightsError, read_weight_file
from system.command import door
from system.files import replacing
from training.values import ConfigError

FORMAT = "kitti-attention-detector/1"
_OWN = ("format", "task", "config", "versions", "metrics", "model", "training")


class CheckpointError(OSError):
    """A checkpoint cannot be read or written; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds; `config` as plain values. `training` is empty in files made for use only."""

    task: str
    config: dict[str, Any]
    model: Mapping[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """A crash at any moment, a power cut included, leaves the old file or the new one, never half of one."""
    content = {
        "format": FORMAT,
        "task": checkpoint.task,
        "config": checkpoint.config,
        **checkpoint.about,
        "versions": {"torch": str(torch.__version__)},
        "metrics": checkpoint.metrics,
        "model": dict(checkpoint.model),
        "training": checkpoint.training,
    }
    try:
        with replacing(path, durable=True) as partial, open(partial, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as fault:
        stop = _first_cause(fault)  # torch puts an error of its own on top of a full disk, and of Ctrl-C
        if isinstance(stop, KeyboardInterrupt):
            raise stop from None
        kept = "the previous one is intact" if path.exists() else "nothing was written"
        reason = stop.strerror if isinstance(stop, OSError) and stop.strerror else str(fault).splitlines()[0]
        advice = "free some space or choose another folder"
        raise CheckpointError(f"{path}: could not be saved ({reason}); {kept}; {advice}") from None


def _first_cause(fault: BaseException) -> BaseException:
    while fault.__context__ is not None:
        fault = fault.__context__
    return fault


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a file made by `save_checkpoint`; `weights_only=True`, so a stranger's file cannot run code."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; {door('train')} writes runs/<name>/best.pt and last.pt")
    try:
        content = read_weight_file(path)
    except WeightsError as fault:
        raise CheckpointError(str(fault)) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format", "no format entry") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: not a checkpoint of this project (expected {FORMAT!r}, found {found!r:.80})")
    lacking = [name for name in ("config", "model", "metrics", "training") if not isinstance(content.get(name), dict)]
    if lacking:
        raise CheckpointError(f"{path}: written by a version that this one cannot read (no {lacking[0]!r} in it)")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content["model"].items()):
        raise CheckpointError(f"{path}: its 'model' holds other things than tensors by name; save or download it again")
    return Checkpoint(
        str(content.get("task", "detection")),
        content["config"],
        content["model"],
        {name: value for name, value in content.items() if name not in _OWN},
        content["metrics"],
        content["training"],
    )


@contextmanager
def understanding(path: str | Path) -> Iterator[None]:
    """Around the work of making sense of a checkpoint's values: what they lack or cannot be is a CheckpointError."""
    try:
        yield
    except (ConfigError, KeyError) as fault:
        raise CheckpointError(f"{path}: written by a version that this one cannot read ({fault})") from None
    except (ValueError, TypeError) as fault:
        raise CheckpointError(f"{path}: damaged, or not ours ({fault!s:.200})") from None


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Raises CheckpointError where the weights are not of that network, or are no numbers."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as fault:  # torch names every key, some on a line of its own
        first = next((line.strip() for line in str(fault).splitlines()[1:] if line.strip()), str(fault))
        mend = "the file is damaged, or its config is of another network; use it as it was saved"
        raise CheckpointError(f"{origin}: its weights do not fit ({first:.200}); {mend}") from None
    if wrong := next((name for name, value in network.state_dict().items() if not value.isfinite().all()), None):
        raise CheckpointError(f"{origin}: {wrong} holds nan or infinity; train again, or use another checkpoint")
