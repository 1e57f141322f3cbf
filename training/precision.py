"""Which device to run on, and which arithmetic is fastest there: measured, because CPU flags alone do not tell."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The autocast region of "bf16" or "fp16"; nothing for "fp32"."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


def pick_device(name: str) -> torch.device:
    """auto takes a GPU where there is one, under torchrun the one of this process's rank.

    Raises ValueError for a device this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {name!r}: this machine has no Apple GPU that PyTorch can use; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device {name!r}: this machine shows {count} CUDA devices; use cpu or auto")
    return device


def pick_precision(wanted: str, device: torch.device) -> str:
    """Resolves "auto". Raises ValueError where the device cannot do what is wanted."""
    if wanted == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 needs a GPU; on a CPU use bf16, fp32 or auto")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if _bf16_speedup() > 1.15 else "fp32"


@torch.inference_mode()
def _bf16_speedup() -> float:
    """Time of a few convolutions in fp32 over that in bf16, best of a few each; below 1 where a CPU emulates it."""
    candidates = {}
    for dtype in (torch.float32, torch.bfloat16):
        layers = nn.Sequential(*(nn.Conv2d(128, 128, 3, padding=1) for _ in range(3)))
        layers = layers.to(dtype).to(memory_format=torch.channels_last)
        candidates[dtype] = (layers, torch.ones(1, 128, 28, 28, dtype=dtype))
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(5):  # the first round warms up; interleaved, so that a noisy neighbour hits both
        for dtype, (network, batch) in candidates.items():
            started = time.perf_counter()
            network(batch)
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    return best[torch.float32] / best[torch.bfloat16]
