"""Exported graphs on ONNX Runtime and OpenVINO: images [B, H, W, 3] uint8 -> one of the forms of graph_outputs."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.card import Card, read_card
from detector.inference.detections import Detections
from detector.inference.graph_outputs import Outputs, form_of
from detector.inference.seal import check_seal
from detector.inference.thresholds import Threshold
from detector.inference.weights import WeightsError

RT_INFO = "kitti_attention_detector"  # the section of OpenVINO's rt_info that holds the card
MOST_LANES = 8  # more images beside each other only take memory and wait for each other


class ExportedBackend(ABC):
    """What both runtimes share. `batch`: the fixed batch size of the graph, None where it takes any."""

    device_type = "cpu"
    lanes = 1

    def __init__(self, path: Path, card: Card, precision: str, batch: int | None) -> None:
        if card.suppressed and batch is not None:
            raise WeightsError(f"{path}: its batch is fixed and it suppresses by itself; export it again")
        self.path = path
        self.classes, self.policy, self.size = card.classes, card.policy, card.size
        self._form = form_of(card, path)
        self.precision = precision
        self.batch = batch

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """A graph of fixed batch gets its images in parts, the last one filled up with black."""
        if self.batch is None or self.batch == len(images):
            return self._compute(images)
        parts = []
        for start in range(0, len(images), self.batch):
            part = full = images[start : start + self.batch]
            if len(part) < self.batch:
                full = np.zeros((self.batch, *part.shape[1:]), np.uint8)
                full[: len(part)] = part
            parts.append([output[: len(part)] for output in self._compute(full)])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Outputs]:
        outputs = self.run(images)
        return lambda: outputs

    def finish(self, outputs: Outputs, geometries: Sequence[Geometry], conf: Threshold, iou: float) -> list[Detections]:
        return self._form.finish(outputs, geometries, conf, iou)

    def _compute(self, images: NDArray[np.uint8]) -> Outputs:
        """One call of the runtime, and a look at what came of it: the file may be anyone's."""
        with self._telling():
            outputs = self._infer(images, self._form.names)
        return self._checked(outputs, len(images))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What the runtime cannot do is told in one line."""
        try:
            yield
        except MemoryError:
            raise
        except Exception as fault:  # the runtimes' own exceptions share no base class
            raise WeightsError(f"{self.path}: its graph cannot be computed ({_first_line(fault)})") from None

    def _checked(self, outputs: Outputs, images: int) -> Outputs:
        if not self._form.fits(outputs, images):
            found = tuple(output.shape for output in outputs)
            raise WeightsError(f"{self.path}: of {images} images it makes arrays {found}; export it again")
        return outputs

    @abstractmethod
    def _infer(self, images: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """One call of the runtime: the outputs of these names."""


class OnnxBackend(ExportedBackend):
    """ONNX Runtime. It computes in what the file holds, so `precision` can only agree with that.

    device: cpu, cuda or tensorrt, the last two with a number where there are several GPUs.
    many: on the CPU, calls of `start` run beside each other.
    """

    def __init__(self, path: Path, precision: str, threads: int, device: str = "cpu", many: bool = False) -> None:
        check_seal(path)
        onnxruntime = require("onnxruntime", path)
        self.lanes = _lanes(threads, many and device == "cpu")
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
            raise WeightsError(f"{path}: not an ONNX model that ONNX Runtime can load ({_first_line(fault)})") from None
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
            raise WeightsError(_other_precision(path, held, precision))
        shapes = {port.name: port.shape for port in (*self._session.get_inputs(), *self._session.get_outputs())}
        _check_ports(path, card, shapes)
        batch = shapes["images"][0]
        super().__init__(path, card, held, batch if isinstance(batch, int) else None)

    def start(self, images: NDArray[np.uint8]) -> Callable[[], Outputs]:
        return self._callers.submit(self.run, images).result if self._callers else super().start(images)

    def _infer(self, images: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        outputs: Outputs = self._session.run(names, {"images": images})
        return outputs


class OpenVinoBackend(ExportedBackend):
    """OpenVINO's CPU plugin. Left alone it takes bf16 wherever the CPU can; here the precision is always said.

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
            raise WeightsError(f"{path}: not a model that OpenVINO can read ({_first_line(fault)})") from None
        section = model.get_rt_info(RT_INFO).value if model.has_rt_info(RT_INFO) else {}
        card = read_card({name: str(value) for name, value in section.items()}, path)
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        chosen = _openvino_precision(path, card, precision, has_bf16)
        if card.suppressed and chosen == "bf16":
            raise WeightsError(f"{path}: with suppression inside it does not run in bf16; use --precision auto")
        ports = (*model.inputs, *model.outputs)
        shapes = {name: _sides(port.get_partial_shape()) for port in ports for name in port.get_names()}
        _check_ports(path, card, shapes)
        self.lanes = _lanes(threads, many)
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
            raise WeightsError(f"{path}: its graph cannot be computed ({_first_line(fault)})") from None
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


def _lanes(threads: int, many: bool) -> int:
    """How many images run beside each other, each on a thread of its own: more images a second, each one later."""
    return min(threads, MOST_LANES) if many else 1


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


def require(package: str, path: Path) -> Any:
    """The package, or one line that says how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as fault:
        if isinstance(fault, ModuleNotFoundError) and fault.name == package:
            reason = f"which is not installed: pip install {package}"
        else:  # it is there, and broken
            reason = f"which cannot be loaded ({fault!s:.160})"
        raise WeightsError(f"{path}: needs {package}, {reason}") from None


def _sides(shape: Any) -> list[int | None]:
    """An OpenVINO shape with None where a side is free."""
    return [side.get_length() if side.is_static else None for side in shape]


def _check_ports(path: Path, card: Card, shapes: Mapping[str, Sequence[object]]) -> None:
    """The graph's inputs and outputs against its card: a file may have been changed since it was written."""
    missing = [name for name in ("images", *form_of(card, path).names) if name not in shapes]
    if missing:
        raise WeightsError(f"{path}: its graph has no {missing[0]!r}; export it again")
    sides = shapes.get("scores")
    columns = sides[-1] if sides else None
    if isinstance(columns, int) and columns != len(card.classes):
        found = f"scores of {columns} classes, its metadata names {len(card.classes)}"
        raise WeightsError(f"{path}: {found}; export it again")


def _openvino_precision(path: Path, card: Card, wanted: str, has_bf16: bool) -> str:
    """int8 is in the graph, and nothing else is in such a graph; fp32 and bf16 are chosen when it is loaded."""
    if card.precision == "int8" or wanted == "int8":
        if wanted not in ("auto", card.precision):
            raise WeightsError(_other_precision(path, card.precision, wanted))
        return "int8"
    if wanted == "bf16" and not has_bf16:
        raise WeightsError(f"{path}: this CPU has no bf16 arithmetic; use --precision fp32 or auto")
    if wanted == "fp16":
        raise WeightsError(f"{path}: OpenVINO's CPU arithmetic is fp32 or bf16, not fp16; use --precision auto")
    if wanted == "auto":
        return "bf16" if card.precision == "bf16" and has_bf16 else "fp32"
    return wanted


def _other_precision(path: Path, held: str, wanted: str) -> str:
    return (
        f"{path}: this file computes in {held}, not in {wanted}; "
        f"use --precision auto, or export the .pt again with --precision {wanted}"
    )


def _first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[-1].strip()[:160] if lines else type(fault).__name__
