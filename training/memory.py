"""One step at the largest input before training starts, so that what cannot work shows in the first seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from system.command import out_of_memory
from training.precision import autocast
from training.task import Task


class MemoryTooSmall(ValueError):
    """The largest batch does not fit; the message says what to lower."""


def try_largest_step(task: Task[Any], network: nn.Module, micro_batches: Sequence[int], precision: str) -> None:
    """Forward and backward of the largest micro-batch of any phase, and a forward of the smallest, which BatchNorm over
    vectors may refuse; weights, statistics and random states stay as they were.

    micro_batches: images of a forward pass, phase by phase
    """
    phases = zip(task.config.phases, micro_batches, strict=True)
    inputs = [(count, size) for phase, count in phases for size in phase.sizes]
    largest = max(inputs, key=lambda item: item[0] * item[1][0] * item[1][1])
    smallest = min(inputs, key=lambda item: (item[0], item[1][0] * item[1][1]))
    device = next(network.parameters()).device
    statistics = [buffer.clone() for buffer in network.buffers()]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            with torch.no_grad(), autocast(device, precision):
                network(*task.inputs(task.example(*smallest).to(device)))
            batch = task.example(*largest).to(device)
            with autocast(device, precision):
                outputs = network(*task.inputs(batch))
            task.loss(network, outputs, batch)["total"].backward()
    except (MemoryError, RuntimeError) as fault:
        if not out_of_memory(fault):
            raise
        count, (height, width) = largest
        raise MemoryTooSmall(
            f"{count} images of {height}x{width} do not fit into the memory of {device}; lower phases.N.batch_size, "
            f"raise train.accumulate (now {task.config.train.accumulate}), or lower phases.N.size"
        ) from None
    finally:
        network.zero_grad(set_to_none=True)
    for buffer, before in zip(network.buffers(), statistics, strict=True):
        buffer.copy_(before)
