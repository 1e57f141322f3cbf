"""Parameters, GFLOPs and frames per second of every backbone: the paper's Tables 2 to 5.

python -m backbones.profile [--arch A] [--attention A] [--placement P] [--coverage C] [--fps] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import NoReturn

import torch
from torch import nn

from backbones import paper
from backbones.attention import ATTENTIONS, BETWEEN_STAGES, EMCA_EXCITATION, IN_BLOCK
from backbones.counting import count_macs, count_params
from backbones.names import COVERAGES, PLACEMENTS, check_name
from backbones.resnet import ARCHS, build_backbone

IMAGE_SIZE = 224
NUM_CLASSES = 1000
M, G = 2**20, 2**30  # the paper's units
ROUNDS = 50


@dataclass(frozen=True)
class Variant:
    """One row. placement and coverage are None where the attention has no such choice."""

    arch: str
    attention: str
    placement: str | None
    coverage: str | None

    def build(self) -> nn.Module:
        return build_backbone(
            self.arch, self.attention, self.placement or "first", self.coverage or "1,N", num_classes=NUM_CLASSES
        )


@dataclass(frozen=True)
class Profile(Variant):
    params: int
    params_M: float
    macs: int
    gflops: float
    fps: float | None = None
    fps_ratio: float | None = None  # to the plain ResNet of the same depth, the paper's own measure


def variants() -> list[Variant]:
    """Every variant of every depth, the plain ResNet first."""
    rows = []
    for arch in ARCHS:
        rows.append(Variant(arch, "none", None, None))
        rows += [Variant(arch, attention, placement, None) for attention in IN_BLOCK for placement in PLACEMENTS]
        rows += [Variant(arch, attention, None, None) for attention in BETWEEN_STAGES]
        rows += [Variant(arch, attention, "first", coverage) for attention in EMCA_EXCITATION for coverage in COVERAGES]
    return rows


def select(arch: str | None, attention: str | None, placement: str | None, coverage: str | None) -> list[Variant]:
    """The variants that a filter names (None: any). A choice that a variant does not have does not exclude it."""
    for what, name, valid in (
        ("arch", arch, ARCHS),
        ("attention", attention, ATTENTIONS),
        ("placement", placement, PLACEMENTS),
        ("coverage", coverage, COVERAGES),
    ):
        if name is not None:
            check_name(what, name, valid)
    chosen = [
        v
        for v in variants()
        if arch in (None, v.arch)
        and attention in (None, v.attention)
        and (placement is None or v.placement in (None, placement))
        and (coverage is None or v.coverage in (None, coverage))
    ]
    if not chosen:
        raise ValueError(f"no variant has attention {attention} and placement {placement}: use --placement first")
    return chosen


def profile(variant: Variant) -> Profile:
    """Exact counts. The network is built on the meta device: shapes only, no weights, so this takes no time."""
    with torch.device("meta"):
        network = variant.build()
    params, macs = count_params(network), count_macs(network, IMAGE_SIZE)
    return Profile(**asdict(variant), params=params, params_M=params / M, macs=macs, gflops=macs / G)


def measure_fps(rows: Sequence[Profile], rounds: int = ROUNDS) -> list[Profile]:
    """The same rows with images per second, one image at a time, and the ratio to the plain ResNet.

    All variants of one depth, and the plain ResNet among them, take turns in an order that changes every round, so that
    drift of the machine hits all alike; the median of the rounds counts.
    """
    measured = {}
    for arch in dict.fromkeys(row.arch for row in rows):
        plain = Variant(arch, "none", None, None)
        same_depth = [Variant(r.arch, r.attention, r.placement, r.coverage) for r in rows if r.arch == arch]
        seconds = _median_seconds([plain, *(v for v in same_depth if v != plain)], rounds)
        for variant in same_depth:
            measured[variant] = (1 / seconds[variant], seconds[plain] / seconds[variant])
    fps = [measured[Variant(r.arch, r.attention, r.placement, r.coverage)] for r in rows]
    return [replace(row, fps=frames, fps_ratio=ratio) for row, (frames, ratio) in zip(rows, fps, strict=True)]


@torch.inference_mode()
def _median_seconds(candidates: Sequence[Variant], rounds: int) -> dict[Variant, float]:
    networks = {variant: variant.build().eval() for variant in candidates}
    trunk = networks[candidates[0]].state_dict()
    for network in networks.values():
        network.load_state_dict(trunk, strict=False, assign=True)  # one trunk in memory for all
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    times: dict[Variant, list[float]] = {variant: [] for variant in candidates}
    order, shuffle = list(candidates), random.Random(0).shuffle
    for warming_up in [True] * 3 + [False] * rounds:
        shuffle(order)
        for variant in order:
            start = time.perf_counter()
            networks[variant](image)
            if not warming_up:
                times[variant].append(time.perf_counter() - start)
    return {variant: median(of_variant) for variant, of_variant in times.items()}


def table(rows: Sequence[Profile]) -> str:
    """Aligned text, the paper's figure in the column after ours ("-": it prints none)."""
    columns: list[tuple[str, Callable[[Profile], str]]] = [
        ("arch", lambda r: r.arch),
        ("attention", lambda r: r.attention),
        ("placement", lambda r: r.placement or "-"),
        ("coverage", lambda r: r.coverage or "-"),
        ("params", lambda r: str(r.params)),
        ("M", lambda r: f"{r.params_M:.3f}"),
        ("paper", lambda r: _figure(paper.PARAMS_M, r)),
        ("GFLOPs", lambda r: f"{r.gflops:.3f}"),
        ("paper", lambda r: _figure(paper.GFLOPS, r)),
    ]
    if any(row.fps is not None for row in rows):
        columns += [("fps", lambda r: f"{r.fps:.1f}"), ("of plain", lambda r: f"{r.fps_ratio:.2f}")]
    cells = [[title for title, _ in columns], *([show(row) for _, show in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    names = 4  # the first columns are words, to the left; the rest numbers, to the right
    return "\n".join(
        "  ".join(c.ljust(w) if k < names else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    )


def _figure(figures: dict[paper.Key, tuple[float, float, float]], row: Profile) -> str:
    figure = paper.printed(figures, row.arch, row.attention, row.placement, row.coverage)
    return "-" if figure is None else f"{figure:.3f}"


def _caption(with_fps: bool) -> str:
    text = (
        f"{IMAGE_SIZE} x {IMAGE_SIZE} image, {NUM_CLASSES} classes; M = 2^20 parameters, GFLOPs = 2^30 multiply-adds."
        " The paper leaves SRM's style weights out of its counts."
    )
    if with_fps:
        threads = torch.get_num_threads()
        text += f" fps: PyTorch {torch.__version__}, CPU, {threads} thread(s), float32, one image at a time."
    return text


def write_json(rows: Sequence[Profile], target: str) -> None:
    """To the file `target`, whole or not at all, or to standard output if it is "-"."""
    text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    partial = Path(f"{target}.{os.getpid()}.tmp")
    try:
        partial.write_text(text)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"cannot write {target}: {error.strerror}; choose another file for --json") from error


class _OneLineErrors(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; --help shows the options\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _OneLineErrors(prog="python -m backbones.profile", description=__doc__.splitlines()[0])
    parser.add_argument("--arch", metavar="A", help=f"only {', '.join(ARCHS)}")
    parser.add_argument("--attention", metavar="A", help=f"only {', '.join(ATTENTIONS)}")
    parser.add_argument("--placement", metavar="P", help=f"blocks of a stage with attention: {', '.join(PLACEMENTS)}")
    parser.add_argument("--coverage", metavar="C", help=f"what EMCA reads: {' '.join(COVERAGES)}")
    parser.add_argument("--fps", action="store_true", help="also measure images per second, one at a time")
    parser.add_argument("--json", metavar="OUT", help="write the rows to this file; - is standard output, and no table")
    options = parser.parse_args(arguments)
    try:
        rows = [profile(v) for v in select(options.arch, options.attention, options.placement, options.coverage)]
        if options.fps:
            rows = measure_fps(rows)
        if options.json:
            write_json(rows, options.json)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json != "-":
        print(table(rows), _caption(options.fps), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
