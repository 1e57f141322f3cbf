"""Which channels does attention never let through, and what are they worth? python -m insight.prune W --data ROOT

A report first: channels whose largest z over a calibration set is at most tau. With --output a network without them, an
ordinary checkpoint: evaluate.py, detect.py, the export and train.start take it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml

from backbones.counting import count_macs, count_params
from backbones.pruned import is_prunable, prune
from detector.config import Config
from detector.evaluation.run import LOWEST_SCORE, OVERLAP
from detector.export.agreement import ap_before_and_after, find
from detector.inference.predictor import Predictor
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import Trained
from detector.inference.weights import weights_argument
from detector.network.build import build_detector
from insight.frames import Frames, of_split
from insight.gates import Logits, gates_of, logits_over, sigmoid
from insight.subject import Subject, open_subjects
from insight.words import add_answer, add_data
from system.command import Parser, door, exit_status, fraction, tell
from system.files import write_text

TAUS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3)
ROUNDS = 15

Cut = dict[str, tuple[int, ...]]


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
    """The same detector without these channels; its config says which."""
    network = trained.build()
    prune(network.backbone, cut)  # type: ignore[arg-type]
    return replace(trained, config=pruned_config(trained.config, cut), weights=network.state_dict())


def pruned_config(config: Config, cut: Cut) -> Config:
    network = config.network.model_copy(update={"pruned": cut, "pretrained": None})
    return config.model_copy(update={"network": network})


def cost(config: Config, num_classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds of one image of the detector."""
    network = build_detector(config.network, num_classes).to("meta")
    return count_params(network), count_macs(network, config.size)


def preview(trained: Trained, logits: Logits, taus: Sequence[float], whole: tuple[int, int]) -> list[dict[str, Any]]:
    """What each tau would take: channels by block, parameters, multiply-adds."""
    rows: list[dict[str, Any]] = []
    (params, macs), seen = whole, Cut()
    for tau in taus:
        cut = shut(logits, tau)
        if cut != seen:
            (params, macs), seen = cost(pruned_config(trained.config, cut), len(trained.classes)), cut
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


def largest_difference(before: Trained, after: Trained, frames: Frames, device: torch.device) -> float:
    """Of the raw outputs, over some frames, relative to the largest output."""
    subject = Subject(before, "before", str(device))
    other = after.build().to(device)
    worst = 0.0
    with torch.inference_mode():
        for _, image in frames:
            batch, _ = subject.place(image)
            for a, b in zip(subject.network(batch), other(batch), strict=True):
                worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def milliseconds(backends: Mapping[str, TorchBackend], rounds: int = ROUNDS) -> dict[str, float]:
    """Median of one image, the networks taking turns."""
    times: dict[str, list[float]] = {name: [] for name in backends}
    order = list(backends)
    for turn in range(rounds + 2):  # two to warm up
        random.Random(turn).shuffle(order)
        for name in order:
            backend = backends[name]
            image = np.full((1, *backend.size, 3), 114, np.uint8)
            backend.wait()
            started = time.perf_counter()
            backend.run(image)
            backend.wait()
            if turn >= 2:
                times[name].append(time.perf_counter() - started)
    return {name: 1000 * median(seconds) for name, seconds in times.items()}


def backend_of(trained: Trained, device: str) -> TorchBackend:
    config = trained.config
    return TorchBackend(trained.build(), trained.classes, config.data.resize, config.size, device, "fp32")


def save(trained: Trained, path: Path) -> Path:
    """The checkpoint, and beside it a config with which train.py trains it on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(path)
    values = trained.config.plain()
    values["name"], values["train"]["start"] = path.stem, str(path)
    config = path.with_suffix(".yaml")
    write_text(config, yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120))
    return config


def write(trained: Trained, cut: Cut, frames: Frames, args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Writes the pruned checkpoint, and says what it costs and saves."""
    smaller = without(trained, cut)
    config = save(smaller, args.output)
    checking = of_split(args.data, args.check_split, args.max)
    assert checking.annotations is not None
    backends = {"before": backend_of(trained, args.device), "after": backend_of(smaller, args.device)}
    some = Frames(dict(list(frames.paths.items())[:4]))
    difference = largest_difference(trained, smaller, some, backends["before"].device)
    images = dict(checking)
    found = {
        name: find(Predictor(backend, conf=LOWEST_SCORE, iou=OVERLAP), images) for name, backend in backends.items()
    }
    ap = ap_before_and_after(
        checking.annotations, found["before"], found["after"], trained.classes, ("before", "after")
    )
    ms = milliseconds(backends)
    ratio = ms["after"] / ms["before"]
    verdict = "faster" if ratio < 0.98 else "slower" if ratio > 1.02 else "as fast"
    report = {"output": str(args.output), "tau": args.tau, "difference": difference, "ms": ms}
    text = [
        f"{args.output}: tau {args.tau:g}, {sum(map(len, cut.values()))} channels cut",
        f"to train it on: {door('train')} {config}",
        f"largest difference of raw outputs, relative to the largest output: {difference:.2g}",
        f"percent on {len(checking)} frames of split {args.check_split}: COCO's, and KITTI's moderate AP40",
        ap,
        f"{ms['before']:.1f} ms an image before, {ms['after']:.1f} ms after ({verdict}; fp32, median of {ROUNDS})",
    ]
    return report, "\n".join(text)


def run(args: argparse.Namespace) -> None:
    if args.output and args.output.suffix != ".pt":
        raise ValueError(f"--output {args.output}: a checkpoint ends in .pt")
    (subject,) = open_subjects([args.weights], args.device)
    trained, frames = subject.trained, of_split(args.data, args.split, args.max)
    logits = prunable_logits(subject, frames)
    whole = cost(trained.config, len(trained.classes))
    rows = preview(trained, logits, sorted({*TAUS, args.tau}), whole)
    title = f"{len(frames)} frames of split {args.split}: channels whose gate opens no wider than tau in any of them"
    text = [title, preview_table(rows, logits, whole)]
    report: dict[str, Any] = {"frames": len(frames), "split": args.split, "preview": rows}
    cut = shut(logits, args.tau)
    if args.output and cut:
        report["pruned"], told = write(trained, cut, frames, args)
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
    add_data(parser, required=True, split="train")
    add("--tau", type=fraction, default=0.0, help="a gate that never opens wider is shut (default: %(default)s)")
    add("--output", type=Path, metavar="PATH", help="write the network without these channels (.pt)")
    add("--check-split", default="val", help="frames on which AP is compared, as many (default: %(default)s)")
    add_answer(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
