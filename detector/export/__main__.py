"""A checkpoint as one file for other runtimes: python -m detector.export W.pt --to onnx|openvino

The file takes uint8 images [B, H, W, 3] and gives boxes and scores; detect.py and evaluate.py run it as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from detector.inference.weights import SHIPPED, WeightsError, is_checkpoint, weights_argument
from system.command import Parser, door, exit_status, fraction

SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
CONF, IOU = 0.25, 0.45  # detect.py's


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
    add("--batch", type=int, metavar="N", help="images a call, fixed; not in int8 by OpenVINO (default: any)")
    add("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    nms = parser.add_argument_group("suppression inside, for software that has none of its own")
    nms.add_argument("--nms", action="store_true", help="the file gives detections [M, 7] (docs/performance.md)")
    nms.add_argument("--conf", type=fraction, metavar="SCORE", help=f"lowest score of a detection (default: {CONF})")
    nms.add_argument("--iou", type=fraction, help=f"overlap at which the weaker box goes (default: {IOU})")
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


def _check(args: argparse.Namespace) -> None:
    """What can be known to be wrong before anything is loaded."""
    if not is_checkpoint(args.weights):
        raise WeightsError(f"{args.weights}: only a .pt checkpoint can be exported")
    needed = NEEDS[args.to] + (("nncf",) if (args.to, args.precision) == ("openvino", "int8") else ())
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        raise WeightsError(f"--to {args.to} needs {', '.join(missing)}: pip install {' '.join(missing)}")
    if args.precision == "bf16" and args.to == "onnx":
        raise WeightsError(
            "--precision bf16: ONNX Runtime has no bf16 convolutions on CPUs; "
            "--to openvino has, and --half stores the weights in half the size"
        )
    if args.precision == "int8" and args.calibrate is None:
        raise WeightsError("--precision int8 needs frames to measure activations on: --calibrate ROOT, or a video")
    if args.batch is not None and (args.to, args.precision) == ("openvino", "int8"):
        raise WeightsError(f"--batch {args.batch}: OpenVINO computes int8 of a fixed batch wrongly; leave --batch out")
    if args.nms and args.precision == "bf16":
        raise WeightsError("--nms: in bf16 OpenVINO would round boxes by pixels; leave out --half and --precision bf16")
    if args.nms and args.batch is not None:
        raise WeightsError(f"--batch {args.batch}: with --nms the batch stays free; leave --batch out")
    if not args.nms and (args.conf is not None or args.iou is not None):
        raise WeightsError("--conf and --iou belong to --nms: without it the file suppresses nothing")
    if args.iou == 1:
        raise WeightsError("--iou 1: no two boxes overlap by more, so nothing would be suppressed; give less")
    for name in ("batch", "frames", "check_frames"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise WeightsError(f"--{name.replace('_', '-')} {getattr(args, name)}: give 1 or more")
    if args.size and (len(args.size) > 2 or any(side < 32 or side % 32 for side in args.size)):
        wanted = " ".join(map(str, args.size))
        raise WeightsError(f"--size {wanted}: give height and width, or one side, in multiples of 32")
    if str(args.weights) not in SHIPPED and not args.weights.is_file():
        mend = f"{door('train')} writes runs/<name>/best.pt and last.pt"
        raise WeightsError(f"{args.weights}: no such checkpoint; {mend}")


def _output(args: argparse.Namespace) -> Path:
    """W.onnx or W.xml; with the precision in the name where it is not fp32, so that they can lie side by side.
    Beside W; of a shipped model in the working folder.
    """
    tag = ("" if args.precision == "fp32" else f"-{args.precision}") + ("-nms" if args.nms else "")
    output: Path = args.output or args.weights.parent / f"{args.weights.stem}{tag}{SUFFIX[args.to]}"
    if output.suffix != SUFFIX[args.to]:
        raise WeightsError(f"--output {output}: a file made with --to {args.to} must end in {SUFFIX[args.to]}")
    return output


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)

    def work() -> None:
        _check(args)
        output = _output(args)
        from detector.export.convert import export  # late: torch takes seconds, mistakes are told at once

        inside = (CONF if args.conf is None else args.conf, IOU if args.iou is None else args.iou)
        export(args, output, inside if args.nms else None)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
