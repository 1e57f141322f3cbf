"""A checkpoint into a file of another runtime: traced, converted, compared with PyTorch, then put in its place."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.resize import OF_ONE_SIZE
from detector.evaluation.run import LOWEST_SCORE
from detector.export.agreement import (
    SEEN,
    ap_before_and_after,
    compare,
    find,
    find_in_inputs,
    same,
    sample_images,
)
from detector.export.calibration import calibration_frames, checking_frames, network_inputs
from detector.export.graph import ImagesToBoxes, halve_weights, save_openvino, to_openvino, write_onnx
from detector.export.quantise import Inputs, quantise_onnx, quantise_openvino
from detector.export.suppression import suppress_onnx, suppress_openvino
from detector.inference.backend import open_backend
from detector.inference.card import Card
from detector.inference.exported import ExportedBackend
from detector.inference.predictor import Image, Predictor
from detector.inference.trained import load_trained
from detector.inference.weights import WeightsError
from system.files import naming

TEMPORARY = ".export-"  # the folder's name begins so


def export(args: argparse.Namespace, output: Path, suppressed: tuple[float, float] | None) -> None:
    """Writes `output`, says how it differs from PyTorch, and in int8 what it costs. `args` are those of the command;
    `suppressed` are the lowest score and the overlap of a suppression that goes inside.
    """
    trained = load_trained(args.weights)
    if (policy := trained.config.data.resize) not in OF_ONE_SIZE:
        found = f"its input is as large as an image needs (data.resize={policy}), and an exported file has one size"
        raise WeightsError(f"{args.weights}: {found}; train with data.resize=letterbox, or run the checkpoint as it is")
    network = trained.build()
    card = Card(
        trained.classes,
        (args.size[0], args.size[-1]) if args.size else trained.config.size,
        policy,
        args.precision,
        network.averages,
    )
    frames = calibration_frames(args.calibrate, args.split, args.frames) if args.precision == "int8" else {}
    inputs = network_inputs(frames, card, args.batch or 1)
    graph = ImagesToBoxes(network).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming(output, TEMPORARY), tempfile.TemporaryDirectory(dir=output.parent, prefix=TEMPORARY) as folder:
        plain = Path(folder) / "fp32.onnx"
        write_onnx(graph, replace(card, precision="fp32"), args.batch, plain)
        made = _convert(plain, card, args.to, inputs)
        backend = open_backend(made, "cpu", "auto", args.threads)
        assert isinstance(backend, ExportedBackend)
        samples = np.concatenate(inputs[:4]) if inputs else sample_images(card.size)
        difference = compare(graph, backend, samples)
        if card.precision == "fp32" and not difference.close:
            raise WeightsError(f"{args.weights}: the exported graph does not compute what PyTorch does ({difference})")
        table = _cost_of_int8(made, frames, args) if card.precision == "int8" else ""
        if suppressed is not None:
            made = _with_suppression(made, backend, replace(card, suppressed=suppressed), samples)
        _put_in_place(made, output)
    width, height = card.size[::-1]
    print(f"{output}: {_megabytes(output):.1f} MB, input {width}x{height}, computes in {backend.precision}")
    print(difference)
    if suppressed:
        print("suppresses by itself, from a score of {:g} up at an overlap of {:g}".format(*suppressed))
    if table:
        print(table)


def _convert(plain: Path, card: Card, to: str, inputs: Inputs) -> Path:
    """The float32 ONNX file -> a file beside it of the wanted kind and precision."""
    if to == "openvino":
        made = plain.with_name("made.xml")
        model = to_openvino(plain)
        if card.precision == "int8":
            save_openvino(model, replace(card, precision="fp32"), plain.with_suffix(".xml"))  # to compare AP with
            model = quantise_openvino(model, inputs)
        save_openvino(model, card, made)
        return made
    made = plain
    if card.precision == "fp16":
        halve_weights(plain, card)
    elif card.precision == "int8":
        made = plain.with_name("made.onnx")
        quantise_onnx(plain, made, card, inputs)
    return made


def _with_suppression(made: Path, outside: ExportedBackend, card: Card, samples: NDArray[np.uint8]) -> Path:
    """The file beside `made` that suppresses by itself, once it was seen to do it as `outside` of the graph."""
    assert card.suppressed is not None
    suppressing = made.with_stem("suppressing")
    (suppress_openvino if made.suffix == ".xml" else suppress_onnx)(made, suppressing, card)
    inside = open_backend(suppressing, "cpu", outside.precision, 1)
    assert isinstance(inside, ExportedBackend)
    found, expected = (find_in_inputs(backend, samples, *card.suppressed) for backend in (inside, outside))
    if not all(map(same, found, expected)):
        raise WeightsError("--nms: the graph does not suppress as it does outside; export without it")
    return suppressing


def _cost_of_int8(made: Path, frames: Mapping[str, Image], args: argparse.Namespace) -> str:
    """AP before and after, on the same frames: those of another split, or a video's without labels."""
    before, after = (
        Predictor(path, "cpu", conf=LOWEST_SCORE, threads=args.threads)
        for path in (made.with_name(f"fp32{made.suffix}"), made)
    )
    if args.calibrate.is_dir():
        labels, images = checking_frames(args.calibrate, args.check_split, args.check_frames)
        title = f"percent on {len(labels)} frames of split {args.check_split}: COCO's, and KITTI's moderate AP40"
        return f"{title}\n{ap_before_and_after(labels, find(before, images), find(after, images), before.classes)}"
    found = find(before, frames)
    labels = {
        name: [replace(label, score=None) for label in seen if (label.score or 0) > SEEN]
        for name, seen in found.items()
    }
    title = (
        f"percent on {len(frames)} frames of {args.calibrate.name}, which has no labels: "
        f"what fp32 scores above {SEEN} stands for them\n(so this is agreement, not quality)"
    )
    return f"{title}\n{ap_before_and_after(labels, found, find(after, frames), before.classes)}"


def _put_in_place(made: Path, output: Path) -> None:
    """An .xml goes last and its old one first: weights never stand beside a graph that is not theirs."""
    if output.suffix == ".xml":
        output.unlink(missing_ok=True)
        os.replace(made.with_suffix(".bin"), output.with_suffix(".bin"))
    os.replace(made, output)


def _megabytes(path: Path) -> float:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files) / 1e6
