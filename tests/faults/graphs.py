"""Exported files, damaged. Native code reads them, so each try is a process of its own: a crash is seen, not shared."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from detector.inference.backend import open_backend
from detector.inference.card import Card
from tests.faults.damage import OURS, damage, outcome

FILES = Path(__file__).parent / "files"
ENDS = ("read", *(kind.__name__ for kind in OURS), "OSError")
LIMIT_S = 60


def onnx(rng: random.Random, folder: Path) -> str:
    return try_file(folder / "good.onnx", (".onnx",), rng)


def openvino(rng: random.Random, folder: Path) -> str:
    return try_file(folder / "good.xml", (".xml", ".bin"), rng)


def try_file(good: Path, suffixes: tuple[str, ...], rng: random.Random) -> str:
    if not good.exists():
        make(good.parent)
    spoilt = rng.choice(suffixes)
    bad = good.with_stem("bad")
    for suffix in suffixes:
        data = good.with_suffix(suffix).read_bytes()
        bad.with_suffix(suffix).write_bytes(damage(data, rng) if suffix == spoilt else data)
    return in_a_process(lambda: outcome(lambda: use(bad), bad.name))


def make(folder: Path) -> None:
    """A graph of a few layers as our export writes it, for both runtimes."""
    from detector.export.graph import save_openvino, to_openvino, write_card

    card = Card(("Car", "Pedestrian", "Cyclist"), (64, 96), "stretch", "fp32")
    shutil.copy(FILES / "card_classes1.onnx", folder / "good.onnx")
    write_card(folder / "good.onnx", card)
    save_openvino(to_openvino(folder / "good.onnx"), card, folder / "good.xml")


def use(path: Path) -> None:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # it writes about damage too
    backend = open_backend(path, "cpu", "auto", 1)
    backend.run(np.zeros((1, *backend.size, 3), np.uint8))


def in_a_process(work: Callable[[], str]) -> str:
    """What came of it there, by the status of its end."""
    child = os.fork()
    if not child:
        status = len(ENDS)  # for whatever is none of them
        try:
            signal.alarm(LIMIT_S)
            status = ENDS.index(work())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 0 <= status < len(ENDS), f"ended with status {status}"
    return ENDS[status]


GRAPHS: dict[str, Callable[[random.Random, Path], str]] = {"onnx": onnx, "openvino": openvino}
