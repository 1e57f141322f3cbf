"""What every attention costs: the numbers of docs/attention.md.

python -m benchmarks.attention [--arch resnet50] [--sizes 224 448] [--rounds 9] [--threads 1] [--only se,eca]

Parameters and multiply-adds are exact (`backbones.profile`), of the 1000-class network with the attention at its
default options (in all blocks where it leaves a choice), beside the plain network. "light" is Table 1's rule of the
EMCA paper, computed: fewer parameters and no more multiply-adds than SE in all blocks of the same network. Times are
CPU time (of all threads together, so that other programs count little) of one image in eval mode, float32; variants
take turns in an order that changes every round; medians count. The last table is Table 2's claim: the first or the
last block of each stage against all.
"""

from __future__ import annotations

import argparse
import time

import torch

from backbones.attention import CATALOGUE
from backbones.profile import NUM_CLASSES, Profile, Variant, median_seconds, profile
from backbones.resnet import ARCHS, goes_with
from backbones.spec import AttentionSpec
from system.command import count, names

TABLE_2 = ("se", "eca", "srm")


def main() -> None:
    parser = argparse.ArgumentParser(description="parameters, multiply-adds and CPU time of every attention")
    parser.add_argument("--arch", choices=ARCHS, default="resnet50")
    parser.add_argument("--sizes", type=count, nargs="+", default=[224, 448])
    parser.add_argument("--rounds", type=count, default=9)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--only", type=names, default=tuple(CATALOGUE))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{args.arch}, {args.threads} thread(s), PyTorch {torch.__version__}, median of {args.rounds} rounds\n")
    chosen = [v for name in dict.fromkeys(("none", "se", *args.only)) if (v := in_all_blocks(args.arch, name))]
    times = {size: median_seconds(chosen, args.rounds, size, time.process_time) for size in args.sizes}
    costs = {variant: profile(variant) for variant in chosen}
    print_costs(chosen, costs, times)
    print_placements(args.arch, args.rounds, args.sizes[0])


def in_all_blocks(arch: str, name: str, placement: str = "all") -> Variant | None:
    """None where this attention does not go with this network."""
    choice = placement if placement in CATALOGUE[name].placements else "first"
    spec = AttentionSpec.parse(name, {"placement": choice})
    return Variant(arch, spec) if goes_with(arch, spec, NUM_CLASSES) else None


def print_costs(chosen: list[Variant], costs: dict[Variant, Profile], times: dict[int, dict[Variant, float]]) -> None:
    plain, se = costs[chosen[0]], costs[chosen[1]]
    head = [f"{size}: CPU ms" for size in times] + [f"{size}: of plain" for size in times]
    print(f"| attention | seat | + params (K) | + multiply-adds (M) | light | {' | '.join(head)} |")
    print("|---" * (5 + len(head)) + "|")
    for variant in chosen:
        cost = costs[variant]
        light = "yes" if cost.params < se.params and cost.macs <= se.macs else "no"
        milliseconds = [f"{1000 * seconds[variant]:.1f}" for seconds in times.values()]
        ratios = [f"{seconds[variant] / seconds[chosen[0]]:.2f}" for seconds in times.values()]
        seat = "-" if variant.spec.name == "none" else CATALOGUE[variant.spec.name].seat.value
        numbers = [f"{(cost.params - plain.params) / 1e3:,.1f}", f"{(cost.macs - plain.macs) / 1e6:,.1f}", light]
        print(f"| `{variant.spec}` | {' | '.join([seat, *numbers, *milliseconds, *ratios])} |")


def print_placements(arch: str, rounds: int, size: int) -> None:
    """How much faster the network is with attention in the first or last block of each stage than in all."""
    variants = {(name, p): in_all_blocks(arch, name, p) for name in TABLE_2 for p in ("all", "first", "last")}
    present = [variant for variant in variants.values() if variant is not None]
    seconds = median_seconds(present, rounds, size, time.process_time)
    print(f"\n| {size} px, images a second against all blocks | first | last |\n|---|---|---|")
    for name in TABLE_2:
        everywhere, first, last = (variants[name, p] for p in ("all", "first", "last"))
        assert everywhere is not None and first is not None and last is not None
        print(f"| {name} | {seconds[everywhere] / seconds[first]:.2f} | {seconds[everywhere] / seconds[last]:.2f} |")


if __name__ == "__main__":
    main()
