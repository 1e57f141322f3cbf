"""Find objects in images, videos and live streams: python detect.py SOURCE [SOURCE ...] [--weights W]"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from detector.inference.thresholds import Thresholds, thresholds
from detector.inference.views import HELP as VIEWS_HELP
from detector.inference.views import views_argument
from detector.inference.weights import PRECISIONS, default_weights, weights_argument
from detector.video.frames import Selection, parse_time
from detector.video.pipeline import Detector
from detector.video.session import Options, run
from detector.video.tracking import DEFAULT_TRACKER, TRACKERS
from system.command import Parser, door, exit_status, fraction, names

GPU_BATCH = 8  # files only need throughput, and a GPU is idle on single images; a CPU gains nothing from larger batches


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog=door("detect"), description="Find objects in images, videos and live streams.")
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="image, video, folder, 'pattern*', list.txt, camera number, URL")
    add(
        "--weights",
        type=weights_argument,
        metavar="W",
        help=".pt checkpoint, .onnx, OpenVINO .xml, .pth of torchvision, or a shipped model; help lists them "
        "(default: kitti-light, on a GPU kitti)",
    )
    add("--output", type=Path, metavar="DIR", help="where results go (default: the next free runs/detect/<source>)")
    add(
        "--save",
        metavar="LIST",
        help="some of image,video,kitti,json,csv,coco,mot, or none (default: pictures and json)",
    )
    add("--crops", action="store_true", help="save every object cut out, by class")
    add("--show", action="store_true", help="show in a window while running; q stops")
    add("--track", action="store_true", help="give objects ids that stay through a video")
    add(
        "--tracker",
        choices=TRACKERS,
        help="who gives them: botsort is slower and keeps ids where the camera shakes (default: bytetrack)",
    )
    add(
        "--conf",
        type=thresholds,
        default=Thresholds(),
        metavar="SCORE",
        help="lowest score of a detection, for all or a class: 0.4, or .25,Car=.5,Pedestrian=.3 (default: 0.25)",
    )
    add("--iou", type=fraction, default=0.45, help="overlap at which the weaker box goes (default: %(default)s)")
    add("--views", type=views_argument, metavar="LIST", help=VIEWS_HELP)
    add("--classes", type=names, default=(), metavar="NAME,..", help="find only these (default: all that W knows)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; .onnx also tensorrt (default: %(default)s)")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="processor threads of the network (default: all cores)")
    add("--batch", type=int, metavar="N", help=f"images a network call (default: {GPU_BATCH} on a GPU, else 1)")
    add("--every", type=int, default=1, metavar="N", help="look at every N-th frame or image only")
    add("--start", default="0", metavar="TIME", help="begin here in every video: seconds or [h:]m:s")
    add("--end", metavar="TIME", help="end before this time of every video")
    add("--max-frames", type=int, metavar="N", help="stop each video after N frames, and images after N images")
    add(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="give up silent streams after S seconds (default: %(default)g)",
    )
    return parser.parse_args(arguments)


def _options(args: argparse.Namespace) -> Options:
    end = parse_time(args.end) if args.end else float("inf")
    saves = None
    if args.save is not None:
        saves = tuple(name for part in args.save.split(",") if (name := part.strip()) and name != "none")
    return Options(
        sources=tuple(args.sources),
        output=args.output,
        saves=saves,
        crops=args.crops,
        show=args.show,
        track=args.track or args.tracker is not None,
        tracker=args.tracker or DEFAULT_TRACKER,
        conf=replace(args.conf, only=args.classes).lowest,
        batch=args.batch,
        patience=args.timeout,
        selection=Selection(args.every, parse_time(args.start), end, args.max_frames),
    )


def _load(args: argparse.Namespace, ahead: bool) -> tuple[Detector, int]:
    """The predictor, and the batch size that suits its device. torch is imported late, to tell mistakes at once."""
    from detector.inference.predictor import Predictor

    weights = args.weights
    if weights is None:
        name = default_weights(args.device)
        weights = Path(name)
        print(f"weights: {name}, which comes with the project (--weights help)", file=sys.stderr)
    limits = replace(args.conf, only=args.classes)
    predictor = Predictor(weights, args.device, args.precision, limits, args.iou, args.threads, ahead, args.views)
    return predictor, GPU_BATCH if predictor.backend.device_type == "cuda" else 1


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        """The first Ctrl-C ends the run in order and closes the files; a second one ends it at once."""
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    return exit_status(lambda: run(_options(args), partial(_load, args), stop))


if __name__ == "__main__":
    sys.exit(main())
