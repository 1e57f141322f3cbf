"""The runtimes a network can run on, behind one small interface. The file's suffix chooses.

Torch-free until a .pt asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.cores import thread_count
from detector.inference.detections import Detections
from detector.inference.thresholds import Threshold
from detector.inference.weights import PRECISIONS, SHIPPED, WeightsError, is_checkpoint

ONNX_GPUS = ("cuda", "tensorrt")


class Backend(Protocol):
    """A network, and what it was trained for: class names, resize policy and input size (height, width).

    device_type: "cpu", "cuda" or another of torch's; precision: the arithmetic that runs.
    lanes: how many calls of `start` run beside each other.
    fuses: whether what it finds in several views of an image can become one answer.
    """

    classes: tuple[str, ...]
    policy: str
    size: tuple[int, int]
    device_type: str
    precision: str
    lanes: int
    fuses: bool

    def at_half(self) -> Backend:
        """The same network for images of half the size."""
        ...

    def run(self, images: NDArray[np.uint8]) -> Any:
        """images [B, H, W, 3] RGB -> whatever `finish` understands."""
        ...

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Any]:
        """Begins `run`, and gives what waits for it."""
        ...

    def finish(self, outputs: Any, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        """Outputs of `run` -> detections in pixels of the original images."""
        ...


def open_backend(weights: str | Path, device: str, precision: str, threads: int | None, many: bool = False) -> Backend:
    """Loads the weights on the runtime that their suffix names: .pt PyTorch, .onnx ONNX Runtime, .xml OpenVINO.

    precision "auto": an exported file as it is, a .pt in what is fastest here. threads: CPU threads, else all cores.
    many: for those who `start` images before they have the last ones' outputs, where a runtime gains by that.
    """
    path = Path(weights)
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    if not is_checkpoint(path) and path.suffix not in (".onnx", ".xml"):
        others = f"a .pth of torchvision's, or one of {', '.join(SHIPPED)}"
        raise WeightsError(f"{path}: expected weights that end in .pt, .onnx or .xml (OpenVINO), {others}")
    if is_checkpoint(path):
        from detector.inference.pytorch import open_trained  # late: torch takes seconds
        from detector.inference.trained import load_trained

        return open_trained(load_trained(path), device, precision, threads)
    on_gpu = path.suffix == ".onnx" and device.partition(":")[0] in ONNX_GPUS
    if device not in ("auto", "cpu") and not on_gpu:
        raise WeightsError(
            f"{path}: does not run on {device!r}: OpenVINO's files run on the CPU, an .onnx also on cuda or tensorrt; "
            "or give the .pt for a GPU"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; make it with: python -m detector.export W.pt --to onnx|openvino")
    count = thread_count(threads)
    if path.suffix == ".onnx":
        from detector.inference.onnx_runtime import OnnxBackend

        return OnnxBackend(path, precision, count, device if on_gpu else "cpu", many)
    from detector.inference.openvino_runtime import OpenVinoBackend

    return OpenVinoBackend(path, precision, count, many)
