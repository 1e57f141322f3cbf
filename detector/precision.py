"""Which device to run on, and which arithmetic is fastest there: measured, because CPU flags alone do not tell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from None
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


def _bf16_speedup() -> float:
    """Time of a small convolution stack, forward and backward, in fp32 over that in bf16; best of a few each."""
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(3)]
    net = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    images = torch.ones(2, 64, 56, 56).contiguous(memory_format=torch.channels_last)

    def step(precision: str) -> Callable[[], None]:
        def run() -> None:
            with autocast(torch.device("cpu"), precision):
                out = net(images)
            out.float().sum().backward()

        return run

    best = {"fp32": float("inf"), "bf16": float("inf")}
    for _ in range(4):  # the first round warms up; interleaved, so that a noisy neighbour hits both
        for precision in best:
            start = time.perf_counter()
            step(precision)()
            best[precision] = min(best[precision], time.perf_counter() - start)
    return best["fp32"] / best["bf16"]
