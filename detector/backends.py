"""The runtimes a network can run on, behind one small interface. The file's suffix chooses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from data.resize import Geometry
from detector.checkpoint import CheckpointError, load_checkpoint
from detector.detections import Detections
from detector.network.fuse import fuse
from detector.network.postprocess import postprocess
from detector.network.yolov3 import YOLOv3
from detector.precision import autocast, pick_device, pick_precision


class Backend(Protocol):
    """A network, and what it was trained for: class names, resize policy and input size (height, width)."""

    classes: tuple[str, ...]
    policy: str
    size: tuple[int, int]

    def run(self, images: NDArray[np.uint8]) -> Any:
        """images [B, H, W, 3] RGB -> whatever `finish` understands."""
        ...

    def finish(self, outputs: Any, geometries: Sequence[Geometry], conf: float, iou: float) -> list[Detections]:
        """Outputs of `run` -> detections in pixels of the original images."""
        ...


class TorchBackend:
    """PyTorch on any device: fused, channels_last, in inference mode."""

    def __init__(
        self,
        network: YOLOv3,
        classes: Sequence[str],
        policy: str,
        size: tuple[int, int],
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        self.classes = tuple(classes)
        self.policy = policy
        self.size = size
        self.device = pick_device(str(device))
        self.precision = pick_precision(precision, self.device)
        self.network = fuse(network).to(self.device)
        self.network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> list[torch.Tensor]:
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device)  # [B, 3, H, W], channels_last in memory
        with autocast(self.device, self.precision):
            raw_maps = self.network(batch)
        return [raw.float() for raw in raw_maps]

    def finish(
        self, outputs: list[torch.Tensor], geometries: Sequence[Geometry], conf: float, iou: float
    ) -> list[Detections]:
        return postprocess(outputs, self.network, geometries, conf, iou)


def open_backend(weights: str | Path, device: str, precision: str, threads: int | None) -> Backend:
    """Loads the weights on the runtime that their suffix names: .pt PyTorch."""
    path = Path(weights)
    if path.suffix == ".pt":
        if threads:
            torch.set_num_threads(threads)
        checkpoint = load_checkpoint(path)
        network = checkpoint.build_network()
        config = checkpoint.config
        return TorchBackend(network, checkpoint.classes, config.data.resize, config.size, device, precision)
    raise CheckpointError(f"{path}: expected weights that end in .pt")
