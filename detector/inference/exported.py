"""What exported graphs share on every runtime: images [B, H, W, 3] uint8 -> one of the forms of graph_outputs."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.resize import Geometry
from detector.inference.card import Card
from detector.inference.detections import Detections
from detector.inference.graph_outputs import Outputs, form_of
from detector.inference.thresholds import Threshold
from detector.inference.weights import WeightsError

MOST_LANES = 8  # more images beside each other only take memory and wait for each other


class ExportedBackend(ABC):
    """A file on its runtime. `batch`: the fixed batch size of the graph, None where it takes any."""

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
        self.fuses = card.suppressed is None

    def at_half(self) -> ExportedBackend:
        raise WeightsError(f"{self.path}: one input size, so --views mirror works, and half needs the .pt")

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
            raise WeightsError(f"{self.path}: its graph cannot be computed ({first_line(fault)})") from None

    def _checked(self, outputs: Outputs, images: int) -> Outputs:
        if not self._form.fits(outputs, images):
            found = tuple(output.shape for output in outputs)
            raise WeightsError(f"{self.path}: of {images} images it makes arrays {found}; export it again")
        return outputs

    @abstractmethod
    def _infer(self, images: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """One call of the runtime: the outputs of these names."""


def lanes_for(threads: int, many: bool) -> int:
    """How many images run beside each other, each on a thread of its own: more images a second, each one later."""
    return min(threads, MOST_LANES) if many else 1


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


def check_ports(path: Path, card: Card, shapes: Mapping[str, Sequence[object]]) -> None:
    """The graph's inputs and outputs against its card: a file may have been changed since it was written."""
    missing = [name for name in ("images", *form_of(card, path).names) if name not in shapes]
    if missing:
        raise WeightsError(f"{path}: its graph has no {missing[0]!r}; export it again")
    sides = shapes.get("scores")
    columns = sides[-1] if sides else None
    if isinstance(columns, int) and columns != len(card.classes):
        found = f"scores of {columns} classes, its metadata names {len(card.classes)}"
        raise WeightsError(f"{path}: {found}; export it again")


def other_precision(path: Path, held: str, wanted: str) -> str:
    return (
        f"{path}: this file computes in {held}, not in {wanted}; "
        f"use --precision auto, or export the .pt again with --precision {wanted}"
    )


def first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[-1].strip()[:160] if lines else type(fault).__name__
