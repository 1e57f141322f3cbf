"""PyTorch on any device: BatchNorm folded, channels_last, in inference mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.resize import STRIDE, Geometry
from detector.inference.cores import thread_count
from detector.inference.decode import detect
from detector.inference.detections import Detections
from detector.inference.fuse import fuse
from detector.inference.thresholds import Threshold
from detector.inference.trained import Trained
from detector.inference.weights import WeightsError
from detector.network.model import DetectionModel
from training.precision import autocast, pick_device, pick_precision


def open_trained(trained: Trained, device: str, precision: str, threads: int | None) -> TorchBackend:
    """The network on `device`; on a CPU with `threads` threads, else all cores."""
    if precision == "int8":
        options = "--to openvino --precision int8 --calibrate ROOT"
        mend = f"python -m detector.export {trained.origin} {options} makes a file that can"
        raise WeightsError(f"{trained.origin}: a .pt cannot run in int8; {mend}")
    where = pick_device(device)
    if where.type == "cpu":
        torch.set_num_threads(thread_count(threads))
    config = trained.config
    return TorchBackend(trained.build(), trained.classes, config.data.resize, config.size, where, precision)


class TorchBackend:
    """precision "auto" is bf16 or fp16 on a GPU, and on a CPU bf16 where it is measured to be faster."""

    lanes = 1

    def __init__(
        self,
        network: DetectionModel,
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
        self.fuses = not network.draws
        self.network.to(memory_format=torch.channels_last)
        if self.device_type == "cpu" and self.precision == "bf16" and self.network.cast_whole:
            _to_bf16(self.network)
            self._autocast = "fp32"
        else:
            self._autocast = self.precision

    def at_half(self) -> TorchBackend:
        half = copy(self)  # of the same weights
        height, width = (-(-side // (2 * STRIDE)) * STRIDE for side in self.size)
        half.size = (height, width)
        return half

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> Any:
        """images [B, H, W, 3] RGB -> the network's outputs."""
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device)  # [B, 3, H, W], channels_last in memory
        with autocast(self.device, self._autocast):
            return self.network(batch)

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Any]:
        outputs = self.run(images)
        return lambda: outputs

    def wait(self) -> None:
        """Until the device has done what it was told: for those who measure."""
        if self.device_type == "cuda":
            torch.cuda.synchronize(self.device)

    def finish(self, outputs: Any, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        return detect(self.network, outputs, geometries, conf, iou)


def _to_bf16(network: DetectionModel) -> None:
    """Weights cast once: in inference mode autocast would cast all of them again for every image (a tenth of the
    time). Pixels are normalised and boxes decoded in float32.
    """
    constants = {name: getattr(network, name) for name in network.exact}
    network.to(torch.bfloat16)
    for name, value in constants.items():
        setattr(network, name, value)
    network.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0].bfloat16(),))
