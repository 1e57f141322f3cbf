"""A checkpoint as one file for other runtimes: python -m detector.export W.pt --to onnx|openvino

The file takes uint8 images [B, H, W, 3] and gives boxes and scores; detect.py and evaluate.py run it as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from detector.evaluation.run import LOWEST_SCORE
from detector.export.agreement import SEEN, ap_before_and_after, compare, find, sample_images
from detector.export.calibration import calibration_frames, checking_frames, network_inputs
from detector.export.graph import ImagesToBoxes, halve_weights, save_openvino, to_openvino, write_onnx
from detector.export.quantise import Inputs, quantise_onnx, quantise_openvino
from detector.inference.backend import open_backend
from detector.inference.card import Card
from detector.inference.predictor import Image, Predictor
from detector.inference.runtimes import ExportedBackend
from detector.inference.trained import load_trained
from detector.inference.weights import FOLDER, WeightsError, weights_argument
from system.command import Parser, exit_status
from system.files import naming

SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m detector.export", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("weights", type=weights_argument, metavar="W", help=".pt checkpoint, or the name of a shipped model")
    add("--to", required=True, choices=tuple(SUFFIX), help="onnx: one .onnx file; openvino: an .xml and a .bin")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="bf16: OpenVINO only, where the CPU has it; int8 needs --calibrate (default: %(default)s)",
    )
    precision.add_argument(
        "--half", action="store_true", help="half the file size; OpenVINO computes in bf16, ONNX Runtime in fp32 still"
    )
    add("--output", type=Path, metavar="PATH", help="the file to write (default: W with another ending)")
    add("--size", type=int, nargs="+", metavar="PX", help="input height and width, or one side (default: W's)")
    add("--batch", type=int, metavar="N", help="images a call, fixed (default: any number)")
    add("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    int8 = parser.add_argument_group("int8")
    int8.add_argument("--calibrate", type=Path, metavar="SOURCE", help="data set folder, or a video")
    int8.add_argument("--split", default="train", help="frames of the data set to calibrate on (default: %(default)s)")
    int8.add_argument("--frames", type=int, default=200, metavar="N", help="how many (default: %(default)s)")
    int8.add_argument("--check-split", default="val", help="frames to compare AP on (default: %(default)s)")
    int8.add_argument("--check-frames", type=int, default=500, metavar="N", help="at most (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.half:
        args.precision = "bf16" if args.to == "openvino" else "fp16"
    return args


def export(args: argparse.Namespace) -> Path:
    """Writes the file, says how it differs from PyTorch, and in int8 what it costs. Returns the file's path."""
    _check(args)
    trained = load_trained(args.weights)
    card = Card(
        trained.classes,
        _size(args.size, trained.config.size),
        trained.config.data.resize,
        args.precision,
    )
    output = _output(args)
    frames = calibration_frames(args.calibrate, args.split, args.frames) if args.precision == "int8" else {}
    inputs = network_inputs(frames, card, args.batch or 1)
    graph = ImagesToBoxes(trained.build()).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming(output), tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as folder:
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
        _put_in_place(made, output)
    width, height = card.size[::-1]
    print(f"{output}: {_megabytes(output):.1f} MB, input {width}x{height}, computes in {backend.precision}")
    print(difference)
    if table:
        print(table)
    return output


def _check(args: argparse.Namespace) -> None:
    """What can be known to be wrong before anything is loaded."""
    if args.weights.suffix != ".pt":
        raise WeightsError(f"{args.weights}: only a .pt checkpoint can be exported")
    needed = NEEDS[args.to] + (("nncf",) if (args.to, args.precision) == ("openvino", "int8") else ())
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        raise WeightsError(f"--to {args.to} needs {', '.join(missing)}: pip install -r requirements-export.txt")
    if args.precision == "bf16" and args.to == "onnx":
        raise WeightsError(
            "--precision bf16: ONNX Runtime has no bf16 convolutions on CPUs; "
            "--to openvino has, and --half stores the weights in half the size"
        )
    if args.precision == "int8" and args.calibrate is None:
        raise WeightsError("--precision int8 needs frames to measure activations on: --calibrate ROOT, or a video")
    for name in ("batch", "frames", "check_frames"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise WeightsError(f"--{name.replace('_', '-')} {getattr(args, name)}: give 1 or more")


def _size(given: Sequence[int] | None, own: tuple[int, int]) -> tuple[int, int]:
    if given is None:
        return own
    size = (given[0], given[-1])
    if len(given) > 2 or any(side < 32 or side % 32 for side in size):
        wanted = " ".join(map(str, given))
        raise WeightsError(f"--size {wanted}: give height and width, or one side, in multiples of 32")
    return size


def _output(args: argparse.Namespace) -> Path:
    """W.onnx or W.xml; with the precision in the name where it is not fp32, so that they can lie side by side.
    Beside W; of a shipped model in the working folder, for the shipped ones lie where the program lies.
    """
    tag = "" if args.precision == "fp32" else f"-{args.precision}"
    folder = Path() if args.weights.parent == FOLDER else args.weights.parent
    output: Path = args.output or folder / f"{args.weights.stem}{tag}{SUFFIX[args.to]}"
    if output.suffix != SUFFIX[args.to]:
        raise WeightsError(f"--output {output}: a file made with --to {args.to} must end in {SUFFIX[args.to]}")
    return output


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


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)

    def work() -> None:
        export(args)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
