"""The two ways into an evaluation, a network or finished results. They meet at the files: what is scored is written."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.formats.kitti import CLASSES, DONT_CARE, IMAGES, frames_of_split, image_files
from detector.evaluation.columns import Columns, from_labels
from detector.evaluation.evaluator import Evaluation, evaluate_columns
from detector.evaluation.kitti_files import frames_of, read_folder
from system.command import tell

if TYPE_CHECKING:
    from detector.inference.predictor import Predictor

# AP is the area under a whole curve, and a class hardly learnt yet has all its detections down here.
LOWEST_SCORE = 0.001
OVERLAP = 0.45  # of suppression


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the numbers go, besides the table: a JSON file (- is standard output, then without the table), a report."""

    json: str | None
    report: Path | None
    coco: str


def score_results(labels: Path, results: Path, split: str | None, allow_missing: bool, outputs: Outputs) -> None:
    """Scores `results/<frame>.txt` against `labels/<frame>.txt`, for all label files or those of a split."""
    every = frames_of(labels)
    frames = frames_of_split(labels.parent.parent, split, every) if split else every
    extra = set(frames_of(results)) - set(frames) if not split else set()
    if extra:
        _note(f"{len(extra)} result files have no label file ({min(extra)}.txt, ...) and are left out")
    ground_truth = read_folder(labels, frames, scored=False)
    detections = read_folder(results, frames, scored=True, allow_missing=allow_missing)
    evaluation = evaluate_columns(ground_truth, detections, _classes_of(ground_truth), outputs.coco)
    _deliver(evaluation, ground_truth, detections, image_files(labels.parent / IMAGES.name).get, outputs)


def score_network(
    load: Callable[[], Predictor],
    root: Path,
    split: str,
    save: Path | None,
    batch_size: int,
    allow_missing: bool,
    outputs: Outputs,
    ignore: Sequence[str] = (DONT_CARE,),
) -> None:
    """Runs a network over a split, and scores the files it wrote. KITTI's test split has no labels and is only written.
    Objects called as in `ignore` are regions to ignore."""
    from data.detection import DetectionDataset
    from data.formats import open_source
    from detector.evaluation.network_results import read_masks, speed, write_results

    unlabelled = open_source(root).test_images() if split == "test" else {}
    if unlabelled and (outputs.json or outputs.report or not save):
        raise ValueError("--split test has no labels: give --save-detections DIR, and neither --json nor --report")
    if not unlabelled:
        dataset = DetectionDataset(root, split, allow_missing=allow_missing, ignore=ignore)
    images = unlabelled or {frame: dataset.image_path(frame) for frame in dataset.frames}
    predictor = load()
    with ExitStack() as stack:
        folder = save or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detections-")))
        with_masks = write_results(predictor, images, folder, batch_size)
        if unlabelled:
            print(f"results of {len(images)} images are in {folder}")
            return
        detections = read_folder(folder, dataset.frames, scored=True)
        if with_masks:
            detections = replace(detections, masks=read_masks(folder, dataset.frames))
    classes = replace(dataset.source.class_set(predictor.classes), names=predictor.classes).ignoring(ignore)
    source = open_source(root, masks=True) if with_masks else dataset.source  # they take memory
    source.frames(split)
    truth = {frame: classes.all_seen(source.annotations(frame)) for frame in dataset.frames}
    ground_truth = from_labels(truth, dataset.frames, scored=False)
    detections = replace(detections, names=tuple(map(classes.spelling, detections.names)))
    evaluation = evaluate_columns(ground_truth, detections, predictor.classes, outputs.coco, speed(predictor.timings))
    _deliver(evaluation, ground_truth, detections, images.get, outputs)


def _classes_of(ground_truth: Columns) -> tuple[str, ...]:
    """KITTI's eight; where labels name others, those they name, KITTI's first."""
    named = {ground_truth.names[code] for code in set(ground_truth.name[~ground_truth.ignore].tolist())}
    if named <= set(CLASSES):
        return CLASSES
    return tuple(sorted(named, key=lambda name: (CLASSES.index(name) if name in CLASSES else len(CLASSES), name)))


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
    tell(evaluation.to_json(), evaluation.table(), outputs.json)


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
