"""How far do the channels' gates open? python -m insight.scales W [W ...] --data ROOT

The paper's Fig. 6 for any weights: the gate z of the first attention of each stage, averaged over a split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from detector.inference.weights import weights_argument
from insight import pictures
from insight.gates import Logits, logits_over, sigmoid
from insight.subject import frames_for, open_subjects
from insight.words import add_answer, add_data
from system.charts import Theme
from system.command import Parser, exit_status, tell
from system.files import replacing

STAGES = ("layer1", "layer2", "layer3", "layer4")
PAPER_MEANS = (0.3, 0.1, 0.1, 0.3)  # of EMCA's scales in stages 1 to 4 (section IV-H)


@dataclass(frozen=True)
class Stage:
    """z of one module over n images and C channels.

    variance            of the channels' means: how much channels differ
    over_images         the mean of each channel's variance: how much an image changes a gate
    below_half ...      shares of all n · C values; zero: exactly, in float32
    smallest_logit      float32's sigmoid is 0 only below about -88
    """

    block: str
    channels: int
    mean: float
    variance: float
    over_images: float
    below_half: float
    below_fifth: float
    below_hundredth: float
    zero: float
    smallest_logit: float


def stages_of(logits: Logits) -> list[str]:
    """The first block with a gate of each stage that has one."""
    firsts = (next((name for name in logits if name.startswith(f"{stage}.")), None) for stage in STAGES)
    return [name for name in firsts if name is not None]


def statistics(block: str, logits: NDArray[np.float32]) -> Stage:
    """Of logits [n, C]."""
    z = sigmoid(logits).astype(np.float64)
    return Stage(
        block,
        z.shape[1],
        float(z.mean()),
        float(z.mean(0).var()),
        float(z.var(0).mean()),
        float((z < 0.5).mean()),
        float((z < 0.2).mean()),
        float((z < 0.01).mean()),
        float((z == 0).mean()),
        float(logits.min()),
    )


def table(rows: Mapping[str, Sequence[Stage]]) -> str:
    width = max(len(name) for name in rows)
    shares = "   < .5   < .2  < .01    = 0"
    lines = [f"{'':{width}}  block     channels   mean  variance  over images{shares}  smallest logit"]
    for name, stages in rows.items():
        for s in stages:
            shares = "".join(f"{share:7.3f}" for share in (s.below_half, s.below_fifth, s.below_hundredth, s.zero))
            lines.append(
                f"{name:{width}}  {s.block:9} {s.channels:8}  {s.mean:5.3f}  {s.variance:8.4f}  {s.over_images:11.4f}"
                f"{shares}  {s.smallest_logit:14.2f}"
            )
    return "\n".join(lines)


def claims(rows: Mapping[str, Sequence[Stage]], attention: Mapping[str, str]) -> str:
    """What section IV-H says of EMCA, and what these weights say."""
    emca = [name for name in rows if attention[name].startswith("emca")]
    others = [name for name in rows if name not in emca]
    lines = ["The paper (section IV-H) says of EMCA's scales:"]
    lines.append("1. their variance is larger than that of ECA's and SRM's. Here, mean of the stages' variances:")
    lines += [f"   {name}: {np.mean([s.variance for s in rows[name]]):.4f}" for name in (*emca, *others)]
    if not emca or not others:
        lines.append("   There is nothing to compare: give weights with EMCA, and others without.")
    printed = " ".join(f"{mean:g}" for mean in PAPER_MEANS)
    lines.append(f"2. their means in stages 1 to 4 are about {printed}, the others' about .5. Here:")
    lines += [f"   {name}: {' '.join(f'{s.mean:.2f}' for s in rows[name])}" for name in (*emca, *others)]
    lines.append("3. most are below .5, and 1.5 % are zero. Here, below .5, below .01 and exactly zero:")
    for name in (*emca, *others):
        sizes = [s.channels for s in rows[name]]
        shares = [
            100 * np.average([getattr(s, key) for s in rows[name]], weights=sizes)
            for key in ("below_half", "below_hundredth", "zero")
        ]
        lines.append(f"   {name}: {shares[0]:.1f} %, {shares[1]:.2f} %, {shares[2]:.2f} %")
    return "\n".join(lines)


def chart(logits: Mapping[str, Logits], theme: Theme) -> Figure:
    """A column a stage: the channels' means over the channels (thick: sorted), and below a histogram of all z."""
    figure = Figure(figsize=(12, 5.6))
    axes = figure.subplots(2, len(STAGES), squeeze=False, sharey="row")
    bins = np.linspace(0, 1, 41)
    for colour, (name, of_blocks) in zip(theme.series, logits.items(), strict=False):
        for block in stages_of(of_blocks):
            column = STAGES.index(block.split(".")[0])
            z = sigmoid(of_blocks[block])
            means, channels = z.mean(0), np.arange(z.shape[1])
            axes[0, column].plot(channels, means, color=colour, lw=0.6, alpha=0.5)
            axes[0, column].plot(channels, np.sort(means), color=colour, lw=2, label=name)
            weights = np.full(z.size, 1 / z.size)
            axes[1, column].hist(z.ravel(), bins.tolist(), weights=weights, histtype="step", color=colour, lw=1.5)
    for column, stage in enumerate(STAGES):
        axes[0, column].set(title=f"stage {stage[-1]}", xlabel="channel (thick line: sorted)", ylim=(0, 1))
        axes[1, column].set(xlabel="z", xlim=(0, 1))
    axes[0, 0].set_ylabel("mean z of a channel")
    axes[1, 0].set_ylabel("share of all z")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
    return figure


def run(args: argparse.Namespace) -> None:
    subjects = open_subjects(args.weights, args.device)
    frames = frames_for(subjects, args.data, args.split, args.max)
    logits = {subject.name: logits_over(subject, frames) for subject in subjects}
    rows = {name: [statistics(block, of[block]) for block in stages_of(of)] for name, of in logits.items()}
    args.output.mkdir(parents=True, exist_ok=True)
    pictures.write(args.output, "scales", partial(chart, logits))
    for name, of_blocks in logits.items():
        _save(args.output / f"{name.replace('/', '_')}.npz", of_blocks)
    attention = {subject.name: subject.attention for subject in subjects}
    networks = {
        name: {"attention": attention[name], "stages": [asdict(stage) for stage in stages]}
        for name, stages in rows.items()
    }
    title = f"{len(frames)} frames of split {frames.split}; pictures and logits are in {args.output}"
    report = {"frames": len(frames), "split": frames.split, "networks": networks}
    tell(report, "\n\n".join((title, table(rows), claims(rows, attention))), args.json)


def _save(path: Path, logits: Logits) -> None:
    """Logits [images, C] by block."""
    with replacing(path) as partial_path, open(partial_path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **logits)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m insight.scales", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("weights", nargs="+", type=weights_argument, metavar="W", help=".pt checkpoint, or name of a shipped model")
    add_data(parser, required=True)
    add("--output", type=Path, default=Path("runs/scales"), metavar="DIR", help="(default: %(default)s)")
    add_answer(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
