"""Exported graphs on OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.inference.card import Card, read_card
from detector.inference.exported import ExportedBackend, check_ports, first_line, lanes_for, other_precision, require
from detector.inference.graph_outputs import Outputs
from detector.inference.seal import check_seal
from detector.inference.weights import WeightsError

RT_INFO = "kitti_attention_detector"  # the section of OpenVINO's rt_info that holds the card


class OpenVinoBackend(ExportedBackend):
    """Left alone the plugin takes bf16 wherever the CPU can; here the precision is always said.

    many: calls of `start` run beside each other.
    """

    def __init__(self, path: Path, precision: str, threads: int, many: bool = False) -> None:
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise WeightsError(f"{path}: its weights {weights.name} are missing; both files belong together")
        check_seal(path)
        openvino = require("openvino", path)
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as fault:
            raise WeightsError(f"{path}: not a model that OpenVINO can read ({first_line(fault)})") from None
        section = model.get_rt_info(RT_INFO).value if model.has_rt_info(RT_INFO) else {}
        card = read_card({name: str(value) for name, value in section.items()}, path)
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        chosen = _precision_of(path, card, precision, has_bf16)
        if card.suppressed and chosen == "bf16":
            raise WeightsError(f"{path}: with suppression inside it does not run in bf16; use --precision auto")
        ports = (*model.inputs, *model.outputs)
        shapes = {name: _sides(port.get_partial_shape()) for port in ports for name in port.get_names()}
        check_ports(path, card, shapes)
        self.lanes = lanes_for(threads, many)
        # A free batch stays free: given a shape, int8 is 6 % faster, and its scores are off by .46, not .07.
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if chosen == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY" if self.lanes == 1 else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self.lanes,
        }
        try:
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as fault:
            raise WeightsError(f"{path}: its graph cannot be computed ({first_line(fault)})") from None
        self._request = self._compiled.create_infer_request()
        self._idle: list[Any] = []  # requests of `start` that nobody waits for
        super().__init__(path, card, chosen, shapes["images"][0])

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Outputs]:
        if self.lanes == 1 or self.batch not in (None, len(images)):
            return super().start(images)
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        with self._telling():
            request.start_async({"images": np.ascontiguousarray(images)})  # it copies them

        def outputs() -> Outputs:
            with self._telling():
                request.wait()
                found = [request.results[name].copy() for name in self._form.names]
            self._idle.append(request)
            return self._checked(found, len(images))

        return outputs

    def _infer(self, images: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        outputs = self._request.infer({"images": np.ascontiguousarray(images)}, share_inputs=True)
        return [outputs[name] for name in names]


def _sides(shape: Any) -> list[int | None]:
    """An OpenVINO shape with None where a side is free."""
    return [side.get_length() if side.is_static else None for side in shape]


def _precision_of(path: Path, card: Card, wanted: str, has_bf16: bool) -> str:
    """int8 is in the graph, and nothing else is in such a graph; fp32 and bf16 are chosen when it is loaded."""
    if card.precision == "int8" or wanted == "int8":
        if wanted not in ("auto", card.precision):
            raise WeightsError(other_precision(path, card.precision, wanted))
        return "int8"
    if wanted == "bf16" and not has_bf16:
        raise WeightsError(f"{path}: this CPU has no bf16 arithmetic; use --precision fp32 or auto")
    if wanted == "fp16":
        raise WeightsError(f"{path}: OpenVINO's CPU arithmetic is fp32 or bf16, not fp16; use --precision auto")
    if wanted == "auto":
        return "bf16" if card.precision == "bf16" and has_bf16 else "fp32"
    return wanted
