"""The gates z of a backbone's channels, and what they say of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from backbones.attention.gate import SigmoidGate
from backbones.resnet import AttentionResNet
from insight.frames import Frames
from insight.subject import Subject

Logits = dict[str, NDArray[np.float32]]


def gates_of(backbone: AttentionResNet) -> dict[str, SigmoidGate]:
    """The channel gate of each block that has one, by the block's name: `layer1.0`."""
    found: dict[str, SigmoidGate] = {}
    for name, module in backbone.named_modules():
        if isinstance(module, SigmoidGate):
            found.setdefault(".".join(name.split(".")[:2]), module)
    return found


@contextmanager
def recording(gates: Mapping[str, SigmoidGate]) -> Iterator[dict[str, list[Tensor]]]:
    """Within it, every forward pass adds its logits [B, C] to the list of each gate."""
    found: dict[str, list[Tensor]] = {name: [] for name in gates}
    for name, gate in gates.items():
        gate.__dict__["logits"] = _spy(gate, found[name])  # before the method of its class
    try:
        yield found
    finally:
        for gate in gates.values():
            del gate.__dict__["logits"]


def _spy(gate: SigmoidGate, into: list[Tensor]) -> object:
    logits = gate.logits

    def spied(squeezed: Tensor) -> Tensor:
        into.append(logits(squeezed))
        return into[-1]

    return spied


def logits_over(subject: Subject, frames: Frames) -> Logits:
    """Logits [images, C] of each gate, in float32; z is their sigmoid."""
    gates = gates_of(subject.backbone)
    if not gates:
        raise ValueError(f"{subject.trained.origin}: its attention ({subject.attention}) has no gate for each channel")
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in gates}
    with torch.inference_mode(), recording(gates) as found:
        for _, image in tqdm(frames, unit="img", desc=subject.name, disable=None):
            subject.network(subject.place(image)[0])
            for name, recorded in found.items():
                logits[name].append(recorded.pop().float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in logits.items()}


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the network computes it, in float32."""
    return torch.from_numpy(logits).sigmoid().numpy()
