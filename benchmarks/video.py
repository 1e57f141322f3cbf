"""How close does detect.py come to the network alone? python -m benchmarks.video CLIP [--weights W]

End to end (decode, predict, draw, encode, write) against two baselines on the same frames, held in memory: the
network alone (`Backend.run` on resized images) and the predictor (resize, network, boxes). The three take turns, so
that a machine that slows down slows all of them; medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.formats.kitti import class_set
from data.resize import Geometry, fit, resize
from detector.config import Config
from detector.inference.predictor import Predictor
from detector.inference.trained import Trained
from detector.network.build import build_detector
from detector.video.frames import Selection
from detector.video.journal import Journal
from detector.video.pipeline import Pipeline, Report
from detector.video.sinks import make_sinks
from detector.video.video_file import VideoFile


def main() -> None:
    parser = argparse.ArgumentParser(description="detect.py end to end against the network alone")
    parser.add_argument("clip", type=Path, help="a video file")
    parser.add_argument("--weights", type=Path, help="default: an untrained network of --config")
    parser.add_argument("--config", type=Path, default=Path("configs/kitti.yaml"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=200, help="frames of the clip to use (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights or _untrained(args.config, Path(folder) / "untrained.pt")
        predictor = Predictor(weights, args.device, args.precision, threads=args.threads)
        _compare(predictor, args, Path(folder))


def _untrained(config_path: Path, path: Path) -> Path:
    config = Config.load(config_path)
    classes = class_set(config.data.classes).names
    Trained(config, classes, build_detector(config.network, len(classes)).state_dict()).save(path)
    return path


def _compare(predictor: Predictor, args: argparse.Namespace, folder: Path) -> None:
    frames = [frame.image for frame in _clip(args).frames(Journal(), threading.Event())]
    batches = [frames[at : at + args.batch] for at in range(0, len(frames), args.batch)]
    resized = [_resized(predictor, batch) for batch in batches]
    reports: list[Report] = []

    def network_alone() -> None:
        for batch, _ in resized:
            outputs = predictor.backend.run(batch)
        # one `finish` at the end: it waits for a GPU that works behind our back
        predictor.backend.finish(outputs, resized[-1][1], predictor.conf, predictor.iou)

    def predict() -> None:
        for batch in batches:
            predictor.predict(batch)

    def end_to_end() -> None:
        predictor.timings.update(dict.fromkeys(predictor.timings, 0.0))
        stop = threading.Event()
        sinks = make_sinks(folder, ("video", "json"), False, False, False, "", stop)
        reports.append(Pipeline([_clip(args)], predictor, sinks, Journal(), stop, args.batch).run())

    ways: dict[str, Callable[[], None]] = {
        "network alone": network_alone,
        "predictor": predict,
        "end to end": end_to_end,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(args.rounds + 1):  # the first one warms up
        for way, work in ways.items():
            started = time.perf_counter()
            work()
            if turn:
                seconds[way].append(time.perf_counter() - started)
    _print(seconds, reports[1:], len(frames), frames[0].shape[:2], predictor, args)


def _clip(args: argparse.Namespace) -> VideoFile:
    return VideoFile(str(args.clip), str(args.clip), "clip", Selection(max_frames=args.frames))


def _resized(predictor: Predictor, images: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], list[Geometry]]:
    geometries = [
        fit((image.shape[0], image.shape[1]), predictor.backend.size, predictor.backend.policy) for image in images
    ]
    stack = [resize(image, geometry) for image, geometry in zip(images, geometries, strict=True)]
    return np.stack(stack), geometries


def _print(
    seconds: dict[str, list[float]],
    reports: list[Report],
    frames: int,
    size: tuple[int, ...],
    predictor: Predictor,
    args: argparse.Namespace,
) -> None:
    height, width = predictor.backend.size
    print(
        f"{args.clip.name}: {frames} frames of {size[1]}x{size[0]}, network input {width}x{height}, batch {args.batch}"
    )
    alone = statistics.median(seconds["network alone"])
    print(f"{'':15}{'frames/s':>10}{'of network alone':>18}   (median of {args.rounds})")
    for way, spent in seconds.items():
        median = statistics.median(spent)
        print(f"{way:15}{frames / median:10.1f}{alone / median:17.1%}")
    print("\nstage of end to end, ms a frame (stages run beside each other)")
    for part in reports[0].seconds:
        print(
            f"{part:15}{1000 * statistics.median(report.seconds.get(part, 0.0) for report in reports) / frames:10.2f}"
        )


if __name__ == "__main__":
    main()
