"""From a checkpoint and a data set to numbers, a JSON file and a report."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from classifier.evaluation.evaluation import Evaluation
from classifier.evaluation.report import write_report
from classifier.evaluation.verdicts import judge
from classifier.trained import Trained
from data.pictures import open_pictures, titles
from system.command import tell
from training.distributed import World
from training.precision import pick_device, pick_precision


@dataclass(frozen=True, slots=True)
class Options:
    """json: a file, - for standard output, None; allow_missing: classes may have no pictures."""

    root: Path
    split: str | None
    json: str | None = None
    report: Path | None = None
    batch_size: int = 128
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    allow_missing: bool = False


def score_classifier(trained: Trained, options: Options) -> None:
    """Judges every picture of the split (None: the one it was validated on) and says how right that was."""
    data = trained.config.data
    device = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    precision = pick_precision(options.precision, device)
    split = options.split or data.val_split
    pictures = open_pictures(options.root, split, trained.classes, allow_missing=options.allow_missing)
    network = trained.build().to(device).to(memory_format=torch.channels_last)
    started = time.perf_counter()
    world = World(device=device)
    verdicts = judge(
        network, pictures, data, trained.config.size, precision, world, options.batch_size, title="pictures"
    )
    speed = len(verdicts) / (time.perf_counter() - started)
    evaluation = Evaluation(trained.classes, verdicts, speed, titles(options.root, trained.classes))
    if options.report:
        print(f"note: the report is {write_report(options.report, evaluation, pictures)}", file=sys.stderr)
    tell(evaluation.to_json(), evaluation.table(), options.json)
