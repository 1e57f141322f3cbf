"""Exported graphs on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.inference.card import read_card
from detector.inference.exported import ExportedBackend, check_ports, first_line, lanes_for, other_precision, require
from detector.inference.graph_outputs import Outputs
from detector.inference.seal import check_seal
from detector.inference.weights import WeightsError


class OnnxBackend(ExportedBackend):
    """It computes in what the file holds, so `precision` can only agree with that.

    device: cpu, cuda or tensorrt, the last two with a number where there are several GPUs.
    many: on the CPU, calls of `start` run beside each other.
    """

    def __init__(self, path: Path, precision: str, threads: int, device: str = "cpu", many: bool = False) -> None:
        check_seal(path)
        onnxruntime = require("onnxruntime", path)
        self.lanes = lanes_for(threads, many and device == "cpu")
        self._callers = ThreadPoolExecutor(self.lanes, "onnx") if self.lanes > 1 else None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads // self.lanes
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        providers = _providers(path, device, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as fault:  # the runtime's own exceptions share no base class
            raise WeightsError(f"{path}: not an ONNX model that ONNX Runtime can load ({first_line(fault)})") from None
        if device != "cpu":
            self.device_type = "cuda"
            if self._session.get_providers()[0] != providers[0][0]:  # it goes on with the next that works
                raise WeightsError(f"{path}: ONNX Runtime cannot use {device}; are its driver and CUDA there?")
        try:
            properties = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as fault:
            raise WeightsError(f"{path}: its metadata is damaged ({fault.reason}); export it again") from None
        card = read_card(properties, path)
        held = "int8" if card.precision == "int8" else "fp32"  # fp16 is how weights are stored, not computed with
        if precision not in ("auto", held, card.precision):
            raise WeightsError(other_precision(path, held, precision))
        shapes = {port.name: port.shape for port in (*self._session.get_inputs(), *self._session.get_outputs())}
        check_ports(path, card, shapes)
        batch = shapes["images"][0]
        super().__init__(path, card, held, batch if isinstance(batch, int) else None)

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Outputs]:
        return self._callers.submit(self.run, images).result if self._callers else super().start(images)

    def _infer(self, images: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        outputs: Outputs = self._session.run(names, {"images": images})
        return outputs


def _providers(path: Path, device: str, available: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's names for a device, with what takes over the layers that it does not know behind it."""
    kind, _, number = device.partition(":")
    wanted = {
        "cpu": ["CPUExecutionProvider"],
        "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    }[kind]
    if wanted[0] not in available:
        mend = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        raise WeightsError(f"{path}: this ONNX Runtime was built without {kind}; {mend}")
    number = number or "0"
    return [(name, {} if name.startswith("CPU") else {"device_id": number}) for name in wanted]
