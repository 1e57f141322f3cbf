#!/usr/bin/env python3
"""Score a detector on a data set, or any results in KITTI's format, by COCO's AP and KITTI's where it applies; or a
classifier by its top-1 and top-5."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector.evaluation.evaluator import COCO_EVALUATORS, DEFAULT_COCO
from detector.evaluation.run import LOWEST_SCORE, OVERLAP, Outputs, score_network, score_results
from detector.inference.views import HELP as VIEWS_HELP
from detector.inference.views import views_argument
from detector.inference.weights import PRECISIONS, weights_argument
from system.command import Parser, count, door, exit_status, fraction, names

if TYPE_CHECKING:
    from detector.inference.backend import Backend
    from detector.inference.predictor import Predictor
    from training.checkpoint import Checkpoint

IGNORED = ("DontCare",)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    here = door("evaluate")
    parser = Parser(
        prog=here,
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        f"  {here} --weights runs/kitti/best.pt --data datasets/kitti --split val --report report\n"
        f"  {here} --weights runs/kitti/best.pt --data datasets/kitti --split test --save-detections out\n"
        f"  {here} --weights runs/cifar10/best.pt --data datasets/cifar10 --report report\n"
        f"  {here} --labels datasets/kitti/training/label_2 --detections results --split val --json -",
    )
    network = parser.add_argument_group("a network over a data set")
    network.add_argument(
        "--weights",
        type=weights_argument,
        metavar="W",
        help=".pt checkpoint, .onnx, OpenVINO .xml, .pth of torchvision, or a shipped model; help lists them",
    )
    network.add_argument("--data", metavar="ROOT", help="the data set, as for training: KITTI's layout, YOLO's, COCO's")
    network.add_argument(
        "--ignore",
        type=names,
        default=IGNORED,
        metavar="NAME,..",
        help="objects that are regions to ignore, as data.ignore of the training (default: DontCare)",
    )
    network.add_argument("--save-detections", metavar="DIR", help="keep the results as KITTI files, one a frame")
    network.add_argument("--conf", type=fraction, default=LOWEST_SCORE, help="lowest score (default: %(default)s)")
    network.add_argument("--iou", type=fraction, default=OVERLAP, help="suppression overlap (default: %(default)s)")
    network.add_argument("--views", type=views_argument, metavar="LIST", help=VIEWS_HELP)
    network.add_argument("--batch", type=count, metavar="N", help="images at once (default: 8, a classifier 128)")
    network.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; .onnx also tensorrt (default: %(default)s)"
    )
    network.add_argument("--precision", choices=PRECISIONS, default="auto", help="arithmetic (default: %(default)s)")
    network.add_argument("--threads", type=count, metavar="N", help="CPU threads (default: all cores)")
    results = parser.add_argument_group("results that are there already")
    results.add_argument("--labels", metavar="LABEL_DIR", help="folder of KITTI label files")
    results.add_argument("--detections", metavar="RESULT_DIR", help="folder of KITTI result files")
    both = parser.add_argument_group("both")
    both.add_argument(
        "--split",
        help="val, train, all, or another the data set has; KITTI's test has no labels (default: val with --weights, "
        "else every label file); for a classifier a folder of ROOT (default: the one it was validated on)",
    )
    both.add_argument("--json", metavar="OUT", help="write all numbers as JSON; - prints them, and nothing else")
    both.add_argument("--report", metavar="DIR", help="write index.html with curves, errors and pictures")
    both.add_argument(
        "--allow-missing",
        action="store_true",
        help="count a missing result file as no detections; leave frames out that lack an image or a label file; "
        "let classes of a classifier have no pictures",
    )
    both.add_argument(
        "--coco",
        choices=tuple(COCO_EVALUATORS),
        default=DEFAULT_COCO,
        help="what computes the COCO numbers, with equal results (default: %(default)s)",
    )
    args = parser.parse_args(arguments)
    if args.weights and not args.labels and not args.detections:
        if not args.data:
            parser.error("--weights needs --data ROOT")
    elif not (args.labels and args.detections) or args.weights:
        parser.error("give either --weights W --data ROOT, or --labels LABEL_DIR --detections RESULT_DIR")
    elif args.data or args.save_detections:
        parser.error("--data and --save-detections belong to --weights")
    return args


def _run(args: argparse.Namespace) -> None:
    report = Path(args.report) if args.report else None
    outputs = Outputs(args.json, report, args.coco)
    if not args.weights:
        score_results(Path(args.labels), Path(args.detections), args.split, args.allow_missing, outputs)
        return
    checkpoint = _checkpoint(args.weights)
    if checkpoint and checkpoint.task == "classification":
        _score_classifier(args, checkpoint, report)
        return
    score_network(
        lambda: _predictor(args, checkpoint),
        Path(args.data),
        args.split or "val",
        Path(args.save_detections) if args.save_detections else None,
        args.batch or 8,
        args.allow_missing,
        outputs,
        args.ignore,
    )


def _checkpoint(weights: Path) -> Checkpoint | None:
    """A .pt says itself what it was trained for; shipped models, exported files and .pth are detectors."""
    if weights.suffix != ".pt":
        return None
    from training.checkpoint import load_checkpoint  # late: torch takes a second, and finished results need none

    return load_checkpoint(weights)


def _predictor(args: argparse.Namespace, checkpoint: Checkpoint | None) -> Predictor:
    from detector.inference.predictor import Predictor

    weights: Path | Backend = args.weights
    if checkpoint:
        from detector.inference.pytorch import open_trained
        from detector.inference.trained import trained_of

        weights = open_trained(trained_of(checkpoint, args.weights), args.device, args.precision, args.threads)
    return Predictor(weights, args.device, args.precision, args.conf, args.iou, args.threads, views=args.views)


def _score_classifier(args: argparse.Namespace, checkpoint: Checkpoint, report: Path | None) -> None:
    from classifier.evaluation.run import Options, score_classifier
    from classifier.trained import trained_of

    unfit = {
        "--save-detections": args.save_detections,
        "--conf": args.conf != LOWEST_SCORE,
        "--iou": args.iou != OVERLAP,
        "--coco": args.coco != DEFAULT_COCO,
        "--ignore": args.ignore != IGNORED,
        "--views": args.views is not None,
    }
    given = [word for word, is_given in unfit.items() if is_given]
    if given:
        raise ValueError(f"{', '.join(given)}: only for detectors, and {args.weights} is a classifier; leave it out")
    options = Options(
        Path(args.data),
        args.split,
        args.json,
        report,
        args.batch or 128,
        args.device,
        args.precision,
        args.threads,
        args.allow_missing,
    )
    score_classifier(trained_of(checkpoint, args.weights), options)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: _run(args))


if __name__ == "__main__":
    sys.exit(main())
