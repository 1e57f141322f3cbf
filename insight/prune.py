"""Which channels does attention never let through, and what are they worth? python -m insight.prune W --data ROOT

A report first: channels whose largest z over a calibration set is at most tau. With --output a network without them, an
ordinary checkpoint: evaluate.py, detect.py, the export and training take it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml

from backbones.counting import count_macs, count_params
from backbones.pruned import is_prunable, prune
from detector.config import Config as DetectorConfig
from detector.evaluation.run import LOWEST_SCORE, OVERLAP
from detector.export.agreement import ap_before_and_after, find
from detector.inference.predictor import Predictor
from detector.inference.pytorch import TorchBackend
from detector.inference.weights import weights_argument
from insight.frames import Frames
from insight.gates import Logits, gates_of, logits_over, sigmoid
from insight.subject import ClassifierSubject, DetectorSubject, Subject, Trained, open_subjects, subject_of
from insight.top import top
from insight.words import add_answer, add_data
from system.command import Parser, door, exit_status, fraction, tell
from system.files import write_text

TAUS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3)
ROUNDS = 15

Cut = dict[str, tuple[int, ...]]
Run = Callable[[], object]


def prunable_logits(subject: Subject, frames: Frames) -> Logits:
    """Logits [images, C] of the blocks that can lose channels."""
    origin, attention = subject.trained.origin, subject.attention
    if subject.trained.config.network.pruned:
        raise ValueError(f"{origin}: pruned already; prune what it was made from")
    attentions = {name: f"{name}.attention" for name in gates_of(subject.backbone)}
    able = [name for name, path in attentions.items() if is_prunable(subject.backbone.get_submodule(path))]
    if not able:
        raise ValueError(f"{origin}: {attention} cannot be pruned; se, eca, emca-se and emca-eca without 1 + z can")
    return {name: logits for name, logits in logits_over(subject, frames).items() if name in able}


def shut(logits: Logits, tau: float) -> Cut:
    """Channels whose gate opens no wider than tau in any image, by block. One channel of a block always stays."""
    cut = {}
    for name, of_block in logits.items():
        widest = sigmoid(of_block).max(0)
        channels = np.flatnonzero(widest <= tau)
        if len(channels) == len(widest):
            channels = np.delete(channels, widest.argmax())
        if len(channels):
            cut[name] = tuple(channels.tolist())
    return cut


def without(trained: Trained, cut: Cut) -> Trained:
    """The same network without these channels; its config says which."""
    network = trained.build()
    prune(network.backbone, cut)  # type: ignore[arg-type]
    return replace(settled(trained, cut), weights=network.state_dict())


def settled(trained: Trained, cut: Cut) -> Trained:
    """With the settings of the smaller network, and still the weights of the whole."""
    network = trained.config.network.model_copy(update={"pruned": cut, "pretrained": None})
    return replace(trained, config=trained.config.model_copy(update={"network": network}))  # type: ignore[arg-type]


def cost(trained: Trained) -> tuple[int, int]:
    """Parameters and multiply-adds of one image, by the settings."""
    network = trained.fresh().to("meta")
    return count_params(network), count_macs(network, trained.config.size)


def preview(trained: Trained, logits: Logits, taus: Sequence[float], whole: tuple[int, int]) -> list[dict[str, Any]]:
    """What each tau would take: channels by block, parameters, multiply-adds."""
    rows: list[dict[str, Any]] = []
    (params, macs), seen = whole, Cut()
    for tau in taus:
        cut = shut(logits, tau)
        if cut != seen:
            (params, macs), seen = cost(settled(trained, cut)), cut
        channels = {name: len(cut.get(name, ())) for name in logits}
        rows.append({"tau": tau, "channels": channels, "params": params, "macs": macs})
    return rows


def preview_table(rows: Sequence[Mapping[str, Any]], logits: Logits, whole: tuple[int, int]) -> str:
    heads = "".join(f"{f'{name} /{of.shape[1]}':>15}" for name, of in logits.items())
    lines = [f"{'tau':>5}{heads}{'parameters':>22}{'multiply-adds':>22}"]
    for row in rows:
        channels = "".join(f"{number:15}" for number in row["channels"].values())
        params, macs = _change(row["params"], whole[0]), _change(row["macs"], whole[1])
        lines.append(f"{row['tau']:5g}{channels}{params:>22}{macs:>22}")
    return "\n".join(lines)


def _change(after: int, before: int) -> str:
    return f"{after / 1e6:.3f}M ({100 * (after / before - 1):+.2f} %)"


def largest_difference(before: Subject, after: Subject, frames: Frames) -> float:
    """Of the raw outputs, over some pictures, relative to the largest output."""
    worst = 0.0
    with torch.inference_mode():
        for _, image in frames:
            outputs = (subject.network(subject.place(image)[0]) for subject in (before, after))
            for a, b in zip(*outputs, strict=True):  # a detector's maps, or rows of logits
                worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def milliseconds(runs: Mapping[str, Run], rounds: int = ROUNDS) -> dict[str, float]:
    """Median of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for turn in range(rounds + 2):  # two to warm up
        random.Random(turn).shuffle(order)
        for name in order:
            started = time.perf_counter()
            runs[name]()
            if turn >= 2:
                times[name].append(time.perf_counter() - started)
    return {name: 1000 * median(seconds) for name, seconds in times.items()}


def save(trained: Trained, path: Path) -> Path:
    """The checkpoint, and beside it a config with which train.py trains it on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(path)
    values = trained.config.plain()
    values["name"] = path.stem
    if isinstance(trained.config, DetectorConfig):
        values["train"]["start"] = str(path)
    else:
        values["network"]["pretrained"] = str(path)
    config = path.with_suffix(".yaml")
    write_text(config, yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120))
    return config


def write(whole: Subject, cut: Cut, frames: Frames, args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Writes the pruned checkpoint, and says what it costs and saves."""
    trained = without(whole.trained, cut)
    config = save(trained, args.output)
    smaller = subject_of(trained, "after", args.device)
    checking = whole.frames(args.data, args.check_split or whole.splits()[1], args.max)
    difference = largest_difference(whole, smaller, Frames(dict(list(frames.reads.items())[:4])))
    compare = compare_detectors if isinstance(whole, DetectorSubject) else compare_classifiers
    scores, runs = compare(whole, smaller, checking)  # type: ignore[arg-type]
    ms = milliseconds(runs)
    ratio = ms["after"] / ms["before"]
    verdict = "faster" if ratio < 0.98 else "slower" if ratio > 1.02 else "as fast"
    report = {"output": str(args.output), "tau": args.tau, "difference": difference, "ms": ms}
    text = [
        f"{args.output}: tau {args.tau:g}, {sum(map(len, cut.values()))} channels cut",
        f"to train it on: {door('train')} {config}",
        f"largest difference of raw outputs, relative to the largest output: {difference:.2g}",
        scores,
        f"{ms['before']:.1f} ms an image before, {ms['after']:.1f} ms after ({verdict}; fp32, median of {ROUNDS})",
    ]
    return report, "\n".join(text)


def compare_detectors(before: DetectorSubject, after: DetectorSubject, frames: Frames) -> tuple[str, dict[str, Run]]:
    """A table of AP, and what to time."""
    assert frames.annotations is not None
    backends = {"before": before.backend(), "after": after.backend()}
    images = dict(frames)
    found = {
        name: find(Predictor(backend, conf=LOWEST_SCORE, iou=OVERLAP), images) for name, backend in backends.items()
    }
    names = ("before", "after")
    table = ap_before_and_after(frames.annotations, found["before"], found["after"], before.classes, names)
    title = f"percent on {len(frames)} frames of split {frames.split}: COCO's, and KITTI's moderate AP40"
    return f"{title}\n{table}", {name: partial(_detect, backend) for name, backend in backends.items()}


def _detect(backend: TorchBackend) -> None:
    backend.run(np.full((1, *backend.size, 3), 114, np.uint8))
    backend.wait()


def compare_classifiers(
    before: ClassifierSubject, after: ClassifierSubject, frames: Frames
) -> tuple[str, dict[str, Run]]:
    """Top-1 of both, and what to time."""
    old, new = top(before, frames), top(after, frames)
    change = " ".join(f"{key} {old[key]:.2f} before, {new[key]:.2f} after;" for key in old)
    text = f"percent on {len(frames)} pictures of split {frames.split}: {change.rstrip(';')}"
    return text, {"before": partial(_name, before), "after": partial(_name, after)}


@torch.inference_mode()
def _name(subject: ClassifierSubject) -> None:
    subject.logits(subject.to_input(np.full((1, *subject.size, 3), 114, np.uint8))).cpu()


def run(args: argparse.Namespace) -> None:
    if args.output and args.output.suffix != ".pt":
        raise ValueError(f"--output {args.output}: a checkpoint ends in .pt")
    (subject,) = open_subjects([args.weights], args.device)
    trained, frames = subject.trained, subject.frames(args.data, args.split or subject.splits()[0], args.max)
    logits = prunable_logits(subject, frames)
    whole = cost(trained)
    rows = preview(trained, logits, sorted({*TAUS, args.tau}), whole)
    title = f"{len(frames)} frames of split {frames.split}: channels whose gate opens no wider than tau in any of them"
    text = [title, preview_table(rows, logits, whole)]
    report: dict[str, Any] = {"frames": len(frames), "split": frames.split, "preview": rows}
    cut = shut(logits, args.tau)
    if args.output and cut:
        report["pruned"], told = write(subject, cut, frames, args)
        text.append(told)
    elif args.output:
        text.append(
            f"No gate stays at or below {args.tau:g}: there is nothing to cut, and {args.output} is not written."
        )
    tell(report, "\n\n".join(text), args.json)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m insight.prune", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("weights", type=weights_argument, metavar="W", help=".pt checkpoint, or name of a shipped model")
    add_data(parser, required=True, default="the one to train on")
    add("--tau", type=fraction, default=0.0, help="a gate that never opens wider is shut (default: %(default)s)")
    add("--output", type=Path, metavar="PATH", help="write the network without these channels (.pt)")
    add("--check-split", help="pictures on which AP or top-1 is compared, as many (default: the one to validate on)")
    add_answer(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
