"""How close does detect.py come to the network alone? python -m benchmarks.video CLIP [--weights W]

End to end (decode, predict, draw, encode, write) against two baselines on the same frames, held in memory: the
network alone (`Backend.run` on resized images) and the predictor (resize, network, boxes). The three take turns, so
that a machine that slows down slows all of them; medians of the rounds are compared.

With --peers PYTHON, an environment that has ultralytics: frames a second of ours and of theirs on the clip, with the
video written and without, and a new process up to its first frame. All take turns.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer
from data.formats.kitti import class_set
from data.resize import Geometry, fit, resize
from detector.config import Config
from detector.inference.ahead import in_order
from detector.inference.cores import thread_count
from detector.inference.predictor import Predictor
from detector.inference.trained import Trained
from detector.network.build import build_detector
from detector.video.frames import Selection
from detector.video.journal import Journal
from detector.video.pipeline import Pipeline, Report
from detector.video.sinks import make_sinks
from detector.video.video_file import VideoFile

ROOT = Path(__file__).resolve().parents[1]
# Their loop pads a frame of KITTI to 448x160 in PyTorch; an export sees one size, by default a square.
SIZES = (((448, 448), "PyTorch"), ((448, 448), "OpenVINO int8"), ((160, 448), "OpenVINO int8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="detect.py end to end against the network alone")
    parser.add_argument("clip", type=Path, help="a video file")
    parser.add_argument("--weights", type=Path, nargs="+", help="default: an untrained network of --config")
    parser.add_argument("--config", type=Path, default=Path("configs/kitti.yaml"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=200, help="frames of the clip to use (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has ultralytics installed")
    parser.add_argument("--no-cold", action="store_true", help="with --peers: without new processes")
    args = parser.parse_args()
    if args.peers and not args.peers.is_file():
        parser.error(f"--peers {args.peers}: no such file; name the python of an environment with ultralytics")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        files = args.weights or [_untrained(args.config, folder / "untrained.pt")]
        predictors = {
            weights.name: Predictor(weights, args.device, args.precision, threads=args.threads, many=True)
            for weights in files
        }
        if args.peers:
            ways = [_ours(predictor, args, folder, name) for name, predictor in predictors.items()]
            starts = {weights.name: _our_start(weights, args, folder) for weights in files}
            _take_turns([*ways, *_theirs(args, folder, stack, starts)], {} if args.no_cold else starts, args.rounds)
            return
        for predictor in predictors.values():
            _compare(predictor, args, folder)


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
        begun = (predictor.backend.start(batch) for batch, _ in resized)
        *_, outputs = in_order(begun, predictor.ahead)
        # one `finish` at the end: it waits for a GPU that works behind our back
        predictor.backend.finish(outputs, resized[-1][1], predictor.conf, predictor.iou)

    def predict() -> None:
        for _ in in_order((predictor.start(batch) for batch in batches), predictor.ahead):
            pass

    def end_to_end() -> None:
        reports.append(_run(predictor, args, folder, ("video", "json")))

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


def _run(predictor: Predictor, args: argparse.Namespace, folder: Path, saves: Sequence[str]) -> Report:
    """As detect.py from its first frame to its last."""
    predictor.timings.update(dict.fromkeys(predictor.timings, 0.0))
    stop = threading.Event()
    sinks = make_sinks(folder, saves, False, False, False, "", stop)
    return Pipeline([_clip(args)], predictor, sinks, Journal(), stop, args.batch).run()


@dataclass(frozen=True)
class Way:
    """`run(saves video)` gives frames a second."""

    name: str
    run: Callable[[bool], float]


def _ours(predictor: Predictor, args: argparse.Namespace, folder: Path, name: str) -> Way:
    def run(with_video: bool) -> float:
        report = _run(predictor, args, folder, ("video", "json") if with_video else ("json",))
        return report.frames / report.wall_s

    return Way(f"{name}, {predictor.backend.size[1]}x{predictor.backend.size[0]}", run)


def _our_start(weights: Path, args: argparse.Namespace, folder: Path) -> Callable[[], float]:
    command = [sys.executable, "detect.py", str(args.clip.resolve()), "--weights", str(weights), "--max-frames", "1"]
    command += ["--save", "json", "--output", str(folder / "start")]

    def start() -> float:
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return time.perf_counter() - started

    return start


def _theirs(
    args: argparse.Namespace, folder: Path, stack: ExitStack, starts: dict[str, Callable[[], float]]
) -> Iterator[Way]:
    """Ultralytics' untrained networks in its own predict loop: in PyTorch, and in int8 as it exports them itself."""
    threads, clip = thread_count(args.threads), str(args.clip.resolve())
    peer = stack.enter_context(Peer(args.peers, threads, folder))
    subprocess.run(
        [sys.executable, "-m", "data.scenes", str(folder / "scenes"), "--frames", "40", "--format", "yolo"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    data = str(next((folder / "scenes").glob("*.yaml")))
    for model, (size, kind) in itertools.product(("yolo11n.yaml", "yolov3-tiny.yaml"), SIZES):
        answer = {"path": model} if kind == "PyTorch" else peer.ask(model=model, size=size, int8=data)
        if fault := answer.get("error"):
            print(f"{model} {kind}: not measured ({fault})")
            continue
        path = answer["path"]
        if kind != "PyTorch":  # the next export would write over it
            path = shutil.move(folder / path, folder / f"{model}-{size[1]}x{size[0]}_openvino_model")
        request = {"model": str(path), "size": size, "clip": clip}

        def run(with_video: bool, request: dict[str, Any] = request) -> float:
            answer = peer.ask(**request, save=with_video, frames=args.frames)
            return answer["frames"] / answer["seconds"] if "seconds" in answer else float("nan")

        def start(request: dict[str, Any] = request) -> float:
            started = time.perf_counter()
            with Peer(args.peers, threads, folder) as new:
                new.ask(**request, save=False, frames=1)
            return time.perf_counter() - started

        name = f"Ultralytics {model}, {size[1]}x{size[0]}, {kind}"
        starts[name] = start
        yield Way(name, run)


def _take_turns(ways: Sequence[Way], starts: dict[str, Callable[[], float]], rounds: int) -> None:
    rates: dict[str, tuple[list[float], list[float]]] = {way.name: ([], []) for way in ways}
    for turn in range(rounds + 1):  # the first one warms up
        for way in ways:
            for kept, with_video in zip(rates[way.name], (True, False), strict=True):
                rate = way.run(with_video)
                if turn:
                    kept.append(rate)
    print(f"frames/s, median (slowest to fastest) of {rounds}\n\n| | video written | detections only |\n|---|---|---|")
    for name, pair in rates.items():
        cells = (f"{statistics.median(kept):.1f} ({min(kept):.1f} to {max(kept):.1f})" for kept in pair)
        print(f"| {name} | {' | '.join(cells)} |")
    if starts:
        print("\n| new process to its first frame | seconds |\n|---|---|")
    for name, start in starts.items():
        print(f"| {name} | {statistics.median(start() for _ in range(3)):.2f} |")


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
