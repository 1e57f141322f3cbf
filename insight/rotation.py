"""What is left of a network when the world is turned? python -m insight.rotation W [W ...] --data ROOT

The paper's Table 9, for classifiers and detectors: exact quarter turns, to which no training has used them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.annotation import Annotation
from detector.evaluation.evaluator import Evaluation, evaluate
from detector.evaluation.run import LOWEST_SCORE, OVERLAP
from detector.evaluation.validation import flat_metrics
from detector.inference.detections import Detections, to_labels
from detector.inference.predictor import Predictor
from detector.inference.weights import weights_argument
from insight.frames import Frames, Image
from insight.subject import ClassifierSubject, DetectorSubject, Subject, frames_for, open_subjects
from insight.top import top
from insight.words import add_answer, add_data
from system.command import Parser, count, exit_status, tell

TURNS = (0, 90, 180, 270)  # degrees clockwise
PERCENT = ("top1", "top5")


def turned(image: Image, degrees: int) -> Image:
    """[h, w, 3] turned clockwise by quarter turns: the pixels themselves, none made anew."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90))


def turned_boxes(boxes: NDArray[np.float32], size: tuple[int, int], degrees: int) -> NDArray[np.float32]:
    """Boxes [n, 4] xyxy of an image of `size` (height, width) -> the same boxes in that image turned clockwise."""
    height, width = size
    for _ in range(degrees % 360 // 90):
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack((height - y2, x1, height - y1, x2), 1)
        height, width = width, height
    return boxes


def turned_back(found: Detections, size: tuple[int, int], degrees: int) -> Detections:
    """What was found in the turned image, in pixels of the original image of `size`."""
    there = size if degrees % 180 == 0 else size[::-1]
    return Detections(turned_boxes(found.boxes, there, 360 - degrees), found.scores, found.labels)


def score(predictor: Predictor, frames: Frames, degrees: int, batch: int) -> Evaluation:
    """Against the untouched labels: a turned one would give KITTI's limits of height another meaning."""
    assert frames.annotations is not None
    found: dict[str, Sequence[Annotation]] = {}
    waiting: list[tuple[str, Image]] = []

    def predict() -> None:
        pictures = [turned(image, degrees) for _, image in waiting]
        for (name, image), detections in zip(waiting, predictor.predict(pictures), strict=True):
            upright = turned_back(detections, (image.shape[0], image.shape[1]), degrees)
            found[name] = to_labels(upright, predictor.classes)
        waiting.clear()

    for name, image in tqdm(frames, unit="img", desc=f"{degrees} degrees", disable=None):
        waiting.append((name, image))
        if len(waiting) == batch:
            predict()
    predict()
    return evaluate(frames.annotations, found, predictor.classes)


def rotate(subject: Subject, frames: Frames, batch: int) -> dict[int, dict[str, float]]:
    """By turn: mAP50, AP and AP40 of a detector, top-1 and top-5 of a classifier. The network's input turns with the
    frame, so that things keep their size."""
    if not isinstance(subject, DetectorSubject):
        assert isinstance(subject, ClassifierSubject)
        return {turn: top(subject, frames, partial(turned, degrees=turn), batch, f"{turn} degrees") for turn in TURNS}
    backend, (height, width) = subject.backend(), subject.size
    predictor, numbers = Predictor(backend, conf=LOWEST_SCORE, iou=OVERLAP), {}
    for degrees in TURNS:
        backend.size = (height, width) if degrees % 180 == 0 else (width, height)
        numbers[degrees] = flat_metrics(score(predictor, frames, degrees, batch).to_json())
    return numbers


def table(numbers: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """All in percent; after the turned ones the change from the upright frames."""
    some = next(iter(next(iter(numbers.values())).values()))
    shown = [key for key in some if key in (*PERCENT, "mAP50", "AP") or key.endswith("_moderate")]
    width = max(len(name) for name in numbers)
    heads = "".join(f"{key.removeprefix('AP40_').removesuffix('_moderate'):>18}" for key in shown)
    lines = [f"{'':{width}}  turn{heads}"]
    for name, by_turn in numbers.items():
        for degrees, row in by_turn.items():
            cells = [_cell(key, row, by_turn[0], degrees) for key in shown]
            lines.append(f"{name:{width}}  {degrees:4}{''.join(f'{cell:>18}' for cell in cells)}")
    return "\n".join(lines)


def _cell(key: str, row: Mapping[str, float], upright: Mapping[str, float], degrees: int) -> str:
    percent = 1 if key.startswith("AP40_") or key in PERCENT else 100
    value, change = percent * row[key], percent * (row[key] - upright[key])
    return f"{value:.2f}" if degrees == 0 else f"{value:.2f} ({change:+.2f})"


def run(args: argparse.Namespace) -> None:
    wrong = [path for path in args.weights if path.suffix in (".onnx", ".xml")]
    if wrong:
        raise ValueError(f"{wrong[0]}: an exported network takes one size of input only; give the .pt checkpoint")
    subjects = open_subjects(args.weights, args.device)
    frames = frames_for(subjects, args.data, args.split, args.max)
    numbers = {subject.name: rotate(subject, frames, args.batch) for subject in subjects}
    what = "percent, of KITTI's classes moderate AP40" if subjects[0].finds_boxes else "percent"
    title = f"{len(frames)} frames of split {frames.split}, turned clockwise; {what}"
    report: dict[str, Any] = {"frames": len(frames), "split": frames.split, "networks": numbers}
    tell(report, f"{title}\n\n{table(numbers)}", args.json)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m insight.rotation", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("weights", nargs="+", type=weights_argument, metavar="W", help=".pt checkpoint, or name of a shipped model")
    add_data(parser, required=True)
    add("--batch", type=count, default=8, metavar="N", help="images at once (default: %(default)s)")
    add_answer(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
