"""Parameters, GFLOPs and frames per second of every backbone: the paper's Tables 2 to 5.

python -m backbones.profile [--arch A] [--attention A] [--placement P] [--coverage C] [--fps] [--batch N]
    [--data ROOT] [--workers N] [--device D] [--json OUT]
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import nn

from backbones import paper
from backbones.attention import CATALOGUE
from backbones.counting import count_macs, count_params
from backbones.names import COVERAGES, PLACEMENTS
from backbones.resnet import ARCHS, build_backbone, check_backbone, goes_with
from backbones.spec import AttentionSpec, split
from backbones.whole_pass import Photos, WholePass
from system.command import Parser, count, exit_status, folded
from system.files import write_text
from system.names import check_name

IMAGE_SIZE = 224
NUM_CLASSES = 1000
M, G = 2**20, 2**30  # the paper's units
ROUNDS = 50
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    arch: str
    spec: AttentionSpec

    def build(self) -> nn.Module:
        return build_backbone(self.arch, self.spec, num_classes=NUM_CLASSES)

    @property
    def attention(self) -> str:
        """Name and options but for those that have a column of their own."""
        return self.spec.text(without=("placement", "coverage"))

    @property
    def placement(self) -> str | None:
        return self.spec.placement

    @property
    def coverage(self) -> str | None:
        coverage = dict(self.spec.options).get("coverage")
        return None if coverage is None else str(coverage)


@dataclass(frozen=True)
class Profile:
    """One row. fps_ratio is to the plain ResNet of the same depth, the paper's own measure."""

    variant: Variant
    params: int
    macs: int
    fps: float | None = None
    fps_ratio: float | None = None

    @property
    def params_M(self) -> float:
        return self.params / M

    @property
    def gflops(self) -> float:
        return self.macs / G

    def printed(self, figures: dict[paper.Key, tuple[float, float, float]]) -> float | None:
        """What the paper prints for this row."""
        v = self.variant
        return paper.printed(figures, v.arch, v.attention, v.placement, v.coverage)

    def as_json(self) -> dict[str, object]:
        of_variant = ("arch", "attention", "placement", "coverage")
        counts = ("params", "params_M", "macs", "gflops", "fps", "fps_ratio")
        return {k: getattr(self.variant, k) for k in of_variant} | {k: getattr(self, k) for k in counts}


def variants(archs: Sequence[str] = ARCHS, attentions: Sequence[str] = tuple(CATALOGUE)) -> list[Variant]:
    """Every placement and coverage that these attentions (as a person writes them) leave open, at each depth that they
    go with."""
    every = (Variant(arch, spec) for arch in archs for attention in attentions for spec in _choices(attention))
    return [v for v in every if goes_with(v.arch, v.spec, NUM_CLASSES)]


def _choices(attention: str) -> Iterator[AttentionSpec]:
    name, _ = split(attention)
    every = itertools.product(CATALOGUE[name].placements or PLACEMENTS, COVERAGES)
    specs = (AttentionSpec.parse(attention, {"placement": p, "coverage": c}) for p, c in every)
    return iter(dict.fromkeys(specs))  # one that has no such choice, or has made it, comes out the same each time


def select(arch: str | None, attention: str | None, placement: str | None, coverage: str | None) -> list[Variant]:
    """The variants that a filter names (None: any). A choice that a variant does not have does not exclude it."""
    for what, name, valid in (
        ("arch", arch, ARCHS),
        ("placement", placement, PLACEMENTS),
        ("coverage", coverage, COVERAGES),
    ):
        if name is not None:
            check_name(what, name, valid)
    archs = ARCHS if arch is None else (arch,)
    attentions = tuple(CATALOGUE) if attention is None else (attention,)
    there = variants(archs, attentions)
    if not there:
        check_backbone(archs[0], next(_choices(attentions[0])), NUM_CLASSES)  # says why
    chosen = [
        v
        for v in there
        if (placement is None or v.placement in (None, placement))
        and (coverage is None or v.coverage in (None, coverage))
    ]
    if not chosen:
        placements, coverages = ({getattr(v, k) for v in there} for k in ("placement", "coverage"))
        is_placement = placement is not None and not placements & {None, placement}
        found, offered = ("placement", placements) if is_placement else ("coverage", coverages)
        raise ValueError(f"{attention} is not there with this {found}: use --{found} {' or '.join(sorted(offered))}")
    return chosen


def profile(variant: Variant) -> Profile:
    """Exact counts. The network is built on the meta device: shapes only, no weights, so this takes no time."""
    with torch.device("meta"):
        network = variant.build()
    return Profile(variant, count_params(network), count_macs(network, IMAGE_SIZE))


def measure_fps(
    rows: Sequence[Profile], rounds: int = ROUNDS, batch: int = 1, device: torch.device = CPU
) -> list[Profile]:
    """The same rows with images per second, `batch` images at a time, and the ratio to the plain ResNet.

    All variants of one depth, and the plain ResNet among them, take turns in an order that changes every round, so that
    drift of the machine hits all alike; the median of the rounds counts.
    """
    return _timed(rows, lambda candidates: median_seconds(candidates, rounds, batch=batch, device=device))


def measure_whole_pass(
    rows: Sequence[Profile], root: Path, batch: int, workers: int, device: torch.device
) -> list[Profile]:
    """The same, of one pass each over the pictures of a folder."""
    passes = WholePass(Photos(root, IMAGE_SIZE), batch, workers, device)

    def seconds(candidates: Sequence[Variant]) -> dict[Variant, float]:
        return {variant: passes.seconds(network) for variant, network in build(candidates, device).items()}

    return _timed(rows, seconds)


def _timed(rows: Sequence[Profile], seconds_of: Callable[[Sequence[Variant]], dict[Variant, float]]) -> list[Profile]:
    """`seconds_of` times all variants of one depth, and the plain ResNet among them, beside each other."""
    measured = {}
    for arch in dict.fromkeys(row.variant.arch for row in rows):
        plain = Variant(arch, AttentionSpec.parse("none"))
        same_depth = [row.variant for row in rows if row.variant.arch == arch]
        candidates = [plain, *(v for v in same_depth if v != plain)]
        seconds = seconds_of(candidates)
        for variant in same_depth:
            measured[variant] = (1 / seconds[variant], seconds[plain] / seconds[variant])
    fps = [measured[row.variant] for row in rows]
    return [replace(row, fps=frames, fps_ratio=ratio) for row, (frames, ratio) in zip(rows, fps, strict=True)]


def build(candidates: Sequence[Variant], device: torch.device) -> dict[Variant, nn.Module]:
    """Networks for inference, with one trunk in memory for all."""
    networks = {variant: variant.build().eval().to(device) for variant in candidates}
    trunk = networks[candidates[0]].state_dict()
    for network in networks.values():
        shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
        shared = {key: tensor for key, tensor in trunk.items() if shapes.get(key) == tensor.shape}
        network.load_state_dict(shared, strict=False, assign=True)
    return networks


@torch.inference_mode()
def median_seconds(
    candidates: Sequence[Variant],
    rounds: int,
    size: int = IMAGE_SIZE,
    clock: Callable[[], float] = time.perf_counter,
    batch: int = 1,
    device: torch.device = CPU,
) -> dict[Variant, float]:
    """An image of `size` x `size`, `batch` of them through each at a time, which lie on the device; taking turns. Where
    the batch does not fit into memory, half of it or less, which is said."""
    networks = build(candidates, device)
    fitting = min(fitting_batch(network, batch, size, device) for network in networks.values())
    if fitting < batch:
        arch = candidates[0].arch
        print(f"note: {arch}: {batch} images do not fit into the memory of {device}, took {fitting}", file=sys.stderr)
    images = torch.rand(fitting, 3, size, size, device=device)
    times: dict[Variant, list[float]] = {variant: [] for variant in candidates}
    order, shuffle = list(candidates), random.Random(0).shuffle
    for warming_up in [True] * 3 + [False] * rounds:
        shuffle(order)
        for variant in order:
            _wait(device)
            start = clock()
            networks[variant](images)
            _wait(device)
            if not warming_up:
                times[variant].append(clock() - start)
    return {variant: median(of_variant) / fitting for variant, of_variant in times.items()}


def fitting_batch(network: nn.Module, batch: int, size: int, device: torch.device) -> int:
    """`batch`, or its half, quarter and so on: what a forward pass has memory for."""
    while batch > 1:
        try:
            network(torch.rand(batch, 3, size, size, device=device))
            break
        except RuntimeError as fault:  # torch.OutOfMemoryError is one; a CPU says "can't allocate"
            if not isinstance(fault, torch.OutOfMemoryError) and "alloc" not in str(fault):
                raise
            batch //= 2
    return batch


def _wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device(name: str) -> torch.device:
    """auto takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise ValueError(f"--device {name}: this machine has no such device; give auto, cpu, cuda or cuda:N") from None
    return torch.device(name)


def table(rows: Sequence[Profile]) -> str:
    """Aligned text, the paper's figure in the column after ours ("-": it prints none)."""
    columns: list[tuple[str, Callable[[Profile], str]]] = [
        ("arch", lambda r: r.variant.arch),
        ("attention", lambda r: r.variant.attention),
        ("placement", lambda r: r.variant.placement or "-"),
        ("coverage", lambda r: r.variant.coverage or "-"),
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
    figure = row.printed(figures)
    return "-" if figure is None else f"{figure:.3f}"


def _caption(with_fps: bool, batch: int, device: torch.device, data: Path | None, workers: int) -> str:
    text = (
        f"{IMAGE_SIZE} x {IMAGE_SIZE} image, {NUM_CLASSES} classes; M = 2^20 parameters, GFLOPs = 2^30 multiply-adds."
        " The paper leaves SRM's style weights out of its counts."
    )
    if with_fps:
        where = f"CPU, {torch.get_num_threads()} thread(s)"
        if device.type == "cuda":
            where = torch.cuda.get_device_name(device)
        at_once = "one image at a time" if batch == 1 else f"{batch} images at a time, on the device"
        if data:
            at_once = f"{batch} images at a time, a whole pass over {data} from files to logits, {workers} workers"
        text += f" fps: PyTorch {torch.__version__}, {where}, float32, {at_once}."
    return folded(text)


def write_json(rows: Sequence[Profile], target: str) -> None:
    """To the file `target`, or to standard output if it is "-"."""
    text = json.dumps([row.as_json() for row in rows], indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        write_text(target, text)
    except OSError as error:
        raise OSError(f"cannot write {target}: {error.strerror}; choose another file for --json") from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m backbones.profile", description=__doc__.splitlines()[0])
    parser.add_argument("--arch", metavar="A", help=f"only {', '.join(ARCHS)}")
    parser.add_argument(
        "--attention",
        metavar="A",
        help=f"only NAME[:option=value[,option=value...]], NAME one of {', '.join(CATALOGUE)}",
    )
    parser.add_argument("--placement", metavar="P", help=f"blocks of a stage with attention: {', '.join(PLACEMENTS)}")
    parser.add_argument("--coverage", metavar="C", help=f"what EMCA reads: {' '.join(COVERAGES)}")
    parser.add_argument("--fps", action="store_true", help="also measure images per second")
    parser.add_argument(
        "--batch", type=count, metavar="N", help="with --fps: images at a time (default: 1; with --data 256)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="ROOT", help="with --fps: a whole pass over the pictures in ROOT, files to logits"
    )
    parser.add_argument("--workers", type=int, default=8, help="with --data: processes that decode (default: 8)")
    parser.add_argument("--device", default="cpu", help="with --fps: auto, cpu, cuda, cuda:N (default: %(default)s)")
    parser.add_argument("--json", metavar="OUT", help="write the rows to this file; - is standard output, and no table")
    options = parser.parse_args(arguments)

    def work() -> None:
        device, batch = _device(options.device), options.batch or (256 if options.data else 1)
        if options.data and not options.fps:
            raise ValueError("--data: the pictures are for --fps; give both")
        rows = [profile(v) for v in select(options.arch, options.attention, options.placement, options.coverage)]
        if options.data:
            rows = measure_whole_pass(rows, options.data, batch, options.workers, device)
        elif options.fps:
            rows = measure_fps(rows, batch=batch, device=device)
        if options.json:
            write_json(rows, options.json)
        if options.json != "-":
            print(table(rows), _caption(options.fps, batch, device, options.data, options.workers), sep="\n\n")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
