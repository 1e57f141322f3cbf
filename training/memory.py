"""One step at the largest input before training starts, so that too little memory shows in the first seconds."""

from __future__ import annotations

import torch

from data.batches import Targets, size_choices
from detector.config import Config
from detector.network.yolov3.loss import DetectionLoss
from detector.network.yolov3.network import YOLOv3
from training.precision import autocast


class MemoryTooSmall(RuntimeError):
    """The largest batch does not fit; the message says what to lower."""


def try_largest_step(
    network: YOLOv3, loss: DetectionLoss, config: Config, micro_batches: list[int], precision: str
) -> None:
    """Forward and backward of the largest micro-batch of any phase; weights and statistics stay as they were."""
    inputs = [
        (count, size)
        for phase, count in zip(config.phases, micro_batches, strict=True)
        for size in size_choices(phase.height_width, phase.size_range)
    ]
    count, (height, width) = max(inputs, key=lambda item: item[0] * item[1][0] * item[1][1])
    device = next(network.parameters()).device
    statistics = [buffer.clone() for buffer in network.buffers()]
    try:
        images = torch.full((count, 3, height, width), 114, dtype=torch.uint8, device=device)
        box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.5 * height]]).repeat(count, 1)
        none = torch.zeros(0, dtype=torch.int64)
        targets = Targets(box, torch.zeros(count, dtype=torch.int64), torch.arange(count), box[:0], none).to(device)
        with autocast(device, precision):
            raw_maps = network(images.contiguous(memory_format=torch.channels_last))
        loss(raw_maps, targets)["total"].backward()
    except (torch.OutOfMemoryError, RuntimeError) as fault:
        if not isinstance(fault, torch.OutOfMemoryError) and "alloc" not in str(fault):
            raise
        raise MemoryTooSmall(
            f"{count} images of {height}x{width} do not fit into the memory of {device}; lower phases.N.batch_size, "
            f"raise train.accumulate (now {config.train.accumulate}), or lower phases.N.size"
        ) from None
    finally:
        network.zero_grad(set_to_none=True)
    for buffer, before in zip(network.buffers(), statistics, strict=True):
        buffer.copy_(before)
