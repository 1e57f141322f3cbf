"""PyTorch on any device: BatchNorm folded, channels_last, in inference mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.resize import Geometry
from detector.inference.card import WeightsError
from detector.inference.cores import thread_count
from detector.inference.decode import postprocess
from detector.inference.detections import Detections
from detector.inference.fuse import fuse
from detector.network.yolov3.network import YOLOv3
from training.checkpoint import load_checkpoint
from training.precision import autocast, pick_device, pick_precision


def open_checkpoint(path: Path, device: str, precision: str, threads: int | None) -> TorchBackend:
    """The checkpoint's network on `device`; on a CPU with `threads` threads, else all cores."""
    if precision == "int8":
        raise WeightsError(
            f"{path}: a .pt cannot run in int8; "
            f"python -m detector.export {path} --to openvino --precision int8 --calibrate ROOT makes a file that can"
        )
    where = pick_device(device)
    if where.type == "cpu":
        torch.set_num_threads(thread_count(threads))
    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    network = checkpoint.build_network()
    return TorchBackend(network, checkpoint.classes, config.data.resize, config.size, where, precision)


class TorchBackend:
    """precision "auto" is bf16 or fp16 on a GPU, and on a CPU bf16 where it is measured to be faster."""

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
        self.device_type = self.device.type
        self.precision = pick_precision(precision, self.device)
        self.network = fuse(network).to(self.device)
        self.network.to(memory_format=torch.channels_last)
        if self.device_type == "cpu" and self.precision == "bf16":
            _to_bf16(self.network)
            self._autocast = "fp32"
        else:
            self._autocast = self.precision

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> list[Tensor]:
        """images [B, H, W, 3] RGB -> the network's raw maps, float32."""
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device)  # [B, 3, H, W], channels_last in memory
        with autocast(self.device, self._autocast):
            raw_maps = self.network(batch)
        return [raw.float() for raw in raw_maps]

    def finish(
        self, outputs: list[Tensor], geometries: Sequence[Geometry], conf: float, iou: float
    ) -> list[Detections]:
        return postprocess(outputs, self.network, geometries, conf, iou)


def _to_bf16(network: YOLOv3) -> None:
    """Weights cast once: in inference mode autocast would cast all of them again for every image (a tenth of the
    time). Pixels are normalised and boxes decoded in float32.
    """
    constants = {name: getattr(network, name) for name in ("mean", "std", "anchors")}
    network.to(torch.bfloat16)
    for name, value in constants.items():
        setattr(network, name, value)
    network.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0].bfloat16(),))
