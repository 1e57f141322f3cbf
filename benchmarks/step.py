"""What does a training step consist of? python -m benchmarks.step [--size 96 320] [--batch 8] [--threads 1]

The step of training/trainer.py on made-up images, in float32 and bf16: its parts by the clock, its operations by
PyTorch's profiler, and what its convolutions reach beside a large product of the same arithmetic. "plain loop" is
forward, loss, backward and SGD alone, as one writes it first. All take turns; medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from backbones.counting import count_macs
from benchmarks.training import made_up_batch
from detector.config import Config
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from training.ema import EMA
from training.parameters import make_optimizer
from training.precision import autocast

CPU = torch.device("cpu")
KINDS = {
    "convolutions": ("convolution",),
    "BatchNorm": ("batch_norm",),
    "activations": ("relu", "threshold", "sigmoid"),
    "update, clip, average": ("_foreach", "lerp", "sgd"),
    "casts and copies": ("copy_", "_to_copy", "clone", "contiguous"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/kitti-best.yaml"))
    parser.add_argument("--size", type=int, nargs=2, default=(96, 320), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = Config.load(args.config).override(["network.pretrained=null"])
    steps = {
        (precision, kind): Step(config, args, precision, whole=kind == "our step")
        for precision in ("fp32", "bf16")
        for kind in ("our step", "plain loop")
    }
    for turn in range(args.rounds + 1):  # the first one warms up
        for step in steps.values():
            step.run(counts=turn > 0)
    print(f"{config.name} {args.size[1]}x{args.size[0]}, batch {args.batch}, {args.threads} threads\n")
    print("| | ms | " + " | ".join(Step.PARTS) + " |\n|---|---|" + "---|" * len(Step.PARTS))
    for (precision, kind), step in steps.items():
        cells = [f"{1000 * statistics.median(step.spent[part]):.1f}" if step.spent[part] else "" for part in Step.PARTS]
        total = statistics.median(map(sum, zip(*(spent for spent in step.spent.values() if spent), strict=True)))
        print(f"| {precision}, {kind} | {1000 * total:.0f} | {' | '.join(cells)} |")
    print("\n| operations of our step, ms | " + " | ".join([*KINDS, "other"]) + " | of a product |")
    print("|---|" + "---|" * (len(KINDS) + 2))
    for precision in ("fp32", "bf16"):
        step = steps[precision, "our step"]
        kinds = step.operations()
        rate = 3 * args.batch * count_macs(step.network, tuple(args.size)) / kinds["convolutions"]
        share = rate / _product(torch.float32 if precision == "fp32" else torch.bfloat16)
        print(f"| {precision} | " + " | ".join(f"{1000 * kinds[kind]:.1f}" for kind in [*KINDS, "other"]), end="")
        print(f" | {share:.0%} |")


class Step:
    """`whole`: with clipping and averaging as the trainer does; `spent`: seconds of each part, round by round."""

    PARTS = ("forward", "loss", "backward", "clip", "update", "average")

    def __init__(self, config: Config, args: argparse.Namespace, precision: str, whole: bool) -> None:
        torch.manual_seed(0)
        self.precision = precision
        self.network: DetectionModel = build_detector(config.network, 8, config.loss).train()
        self.network.to(memory_format=torch.channels_last)
        self.images, self.targets = made_up_batch(args.batch, max(args.size), CPU)
        self.images = self.images[:, :, : args.size[0], : args.size[1]].contiguous(memory_format=torch.channels_last)
        self.optimizer = (
            make_optimizer(self.network, self.network.backbone, config.optimizer)
            if whole
            else torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
        )
        self.ema = EMA(self.network, 0.999) if whole else None
        self.spent: dict[str, list[float]] = defaultdict(list)

    def run(self, counts: bool) -> None:
        with autocast(CPU, self.precision):
            outputs = self._timed("forward", counts, lambda: self.network(self.images))
        loss = self._timed("loss", counts, lambda: self.network.loss(outputs, self.targets)["total"])
        self._timed("backward", counts, loss.backward)
        if self.ema:
            self._timed("clip", counts, lambda: nn.utils.clip_grad_norm_(self.network.parameters(), 10.0))
        self._timed("update", counts, self.optimizer.step)
        if self.ema:
            ema = self.ema
            self._timed("average", counts, lambda: ema.update(self.network))
        self.optimizer.zero_grad(set_to_none=True)

    def _timed(self, part: str, counts: bool, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        if counts:
            self.spent[part].append(time.perf_counter() - started)
        return result

    def operations(self) -> dict[str, float]:
        """Seconds of one step by kind of operation."""
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            self.run(counts=False)
        kinds: dict[str, float] = defaultdict(float)
        for event in profiler.key_averages():
            kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "other")
            kinds[kind] += event.self_cpu_time_total / 1e6
        return kinds


def _product(dtype: torch.dtype) -> float:
    """Multiply-adds a second of a large product."""
    side, best = 2048, float("inf")
    a = torch.ones(side, side, dtype=dtype)
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return side**3 / best


if __name__ == "__main__":
    main()
