"""The two ways into an evaluation, a network or finished results. They meet at the files: what is scored is written."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.formats.kitti import CLASSES
from detector.evaluation.columns import Columns, ResultError, frames_of, read_folder
from detector.evaluation.evaluator import Evaluation, evaluate_columns

if TYPE_CHECKING:
    from detector.inference.predictor import Predictor

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# AP is the area under a whole curve, and a class hardly learnt yet has all its detections down here.
LOWEST_SCORE = 0.001


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the numbers go, besides the table: a JSON file (- is standard output, then without the table), a report."""

    json: str | None
    report: Path | None
    coco: str


def score_results(labels: Path, results: Path, split: str | None, allow_missing: bool, outputs: Outputs) -> None:
    """Scores `results/<frame>.txt` against `labels/<frame>.txt`, for all label files or those of a split."""
    frames = frames_of_split(labels, split) if split else frames_of(labels)
    extra = set(frames_of(results)) - set(frames) if not split else set()
    if extra:
        _note(f"{len(extra)} result files have no label file ({min(extra)}.txt, ...) and are left out")
    ground_truth = read_folder(labels, frames, scored=False)
    detections = read_folder(results, frames, scored=True, allow_missing=allow_missing)
    evaluation = evaluate_columns(ground_truth, detections, CLASSES, outputs.coco)
    _deliver(evaluation, ground_truth, detections, _image_finder(labels.parent / "image_2"), outputs)


def score_network(
    load: Callable[[], Predictor],
    root: Path,
    split: str,
    save: Path | None,
    batch_size: int,
    allow_missing: bool,
    outputs: Outputs,
) -> None:
    """Runs a network over a split, and scores the files it wrote; the test split has no labels and is only written."""
    from data.detection import KittiDataset
    from detector.evaluation.network_results import speed, write_results

    if split == "test":
        images = _testing_images(root)
    else:
        dataset = KittiDataset(root, split, allow_missing=allow_missing)
        images = {frame: dataset.image_path(frame) for frame in dataset.frames}
    predictor = load()
    with ExitStack() as stack:
        folder = save or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detections-")))
        write_results(predictor, images, folder, batch_size)
        if split == "test":
            print(f"results of {len(images)} images are in {folder}")
            return
        frames = tuple(images)
        ground_truth = read_folder(dataset.label_path(frames[0]).parent, frames, scored=False)
        detections = read_folder(folder, frames, scored=True)
    evaluation = evaluate_columns(ground_truth, detections, predictor.classes, outputs.coco, speed(predictor.timings))
    _deliver(evaluation, ground_truth, detections, images.get, outputs)


def frames_of_split(labels: Path, split: str) -> tuple[str, ...]:
    """The frames of ROOT/ImageSets/<split>.txt, or of the built-in list, where labels is ROOT/training/label_2."""
    from data.detection import SPLITS

    lists = [labels.parent.parent / "ImageSets" / f"{split}.txt", SPLITS / f"{split}.txt"]
    if split == "all":
        return frames_of(labels)
    for path in lists:
        if path.is_file():
            return tuple(sorted(set(path.read_text(encoding="utf-8").split())))
    raise ResultError(f"split {split!r}: expected train, val, all, or a list {lists[0]}")


def _deliver(
    evaluation: Evaluation,
    ground_truth: Columns,
    detections: Columns,
    image_of: Callable[[str], Path | None],
    outputs: Outputs,
) -> None:
    if outputs.report:
        from detector.evaluation.report import write_report

        page = write_report(outputs.report, evaluation, ground_truth, detections, image_of)
        _note(f"the report is {page}")
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False)
    if outputs.json == "-":
        print(text)
        return
    if outputs.json:
        _write(Path(outputs.json), text + "\n")
    print(evaluation.table())


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    """The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _testing_images(root: Path) -> Mapping[str, Path]:
    folder = root / "testing" / "image_2"
    images = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in IMAGE_SUFFIXES}
    if not images:
        raise ResultError(f"{folder}: no image in it; the test split is read from ROOT/testing/image_2")
    return images


def _image_finder(folder: Path) -> Callable[[str], Path | None]:
    def image_of(frame: str) -> Path | None:
        paths = (folder / f"{frame}{suffix}" for suffix in IMAGE_SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    return image_of
