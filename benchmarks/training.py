"""Training speed by precision, memory format and compile, beside eager fp32; and what else a step consists of.

    python -m benchmarks.training [--sizes 224 448] [--batch 8] [--rounds 5] [--compile] [--data ROOT]

Every round runs each variant once, so that a machine that slows down slows all of them; medians of the rounds count.
The second table says how much of a step is assignment and loss (batch 16), the third, with --data, how much of an epoch
is waiting for batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from data.batches import BatchSampler, Targets, make_loader
from data.detection import DetectionDataset
from data.settings import AugmentSettings
from detector.config import Config
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from training.precision import autocast, pick_device, pick_precision

Step = Callable[[], None]


def make_network(config: Config, channels_last: bool, device: torch.device) -> DetectionModel:
    network = build_detector(config.network, 8, config.loss).to(device).train()
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return network


def made_up_batch(count: int, size: int, device: torch.device, objects: int = 8) -> tuple[torch.Tensor, Targets]:
    """Noise with `objects` boxes of KITTI's proportions in every image."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    corner = torch.rand(count * objects, 2, generator=generator) * 0.8 * size
    side = (0.02 + 0.18 * torch.rand(count * objects, 2, generator=generator)) * size
    image = torch.arange(count).repeat_interleave(objects)
    labels = torch.randint(0, 8, (count * objects,), generator=generator)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    return images.to(device), Targets(torch.cat((corner, corner + side), 1), labels, image, *none).to(device)


def training_step(
    config: Config, count: int, size: int, precision: str, channels_last: bool, compiled: bool, device: torch.device
) -> Step:
    """One whole step: forward, loss, backward, update."""
    network = make_network(config, channels_last, device)
    model: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    images, targets = made_up_batch(count, size, device)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with autocast(device, precision):
            raw_maps = model(images)
        network.loss(raw_maps, targets)["total"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronise(device)

    return step


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns; one round more, uncounted, warms up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def precision_table(options: argparse.Namespace, config: Config, device: torch.device) -> None:
    chosen = pick_precision("auto", device)
    variants = {"eager fp32": ("fp32", False, False), "fp32 channels_last": ("fp32", True, False)}
    variants |= {"bf16": ("bf16", False, False), "bf16 channels_last": ("bf16", True, False)}
    if options.compile:
        variants["bf16 channels_last compile"] = ("bf16", True, True)
    print(f"{config.network.arch} {config.network.attention}, batch {options.batch}, {device}, ", end="")
    print(f"{torch.get_num_threads()} threads; train.precision auto takes {chosen} here\n")
    print(f"{'size':>5}  {'':28}{'s a step':>9}{'images/s':>10}{'to eager fp32':>15}")
    for size in options.sizes:
        steps = {
            name: training_step(config, options.batch, size, *variant, device) for name, variant in variants.items()
        }
        seconds = interleaved(steps, options.rounds)
        for name, median in seconds.items():
            ratio = seconds["eager fp32"] / median
            print(f"{size:>5}  {name:28}{median:9.2f}{options.batch / median:10.1f}{ratio:14.2f}x")


def loss_share_table(options: argparse.Namespace, config: Config, device: torch.device) -> None:
    """Forward and backward of the network against assignment and loss, their backward included, at batch 16."""
    size, count = max(options.sizes), 16
    precision = pick_precision("auto", device)
    network = make_network(config, True, device)
    images, targets = made_up_batch(count, size, device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), autocast(device, precision):
        raw_maps = [raw.float() for raw in network(images)]

    def network_alone() -> None:
        with autocast(device, precision):
            out = network(images)
        torch.autograd.backward(out, [torch.ones_like(raw) for raw in out])
        synchronise(device)

    def loss_of(kind: str, assignment: str) -> Step:
        varied = config.override([f"loss.kind={kind}", f"loss.assignment={assignment}", "network.xy_scale=2"])
        loss = make_network(varied, True, device).loss

        def step() -> None:
            maps = [raw.clone().requires_grad_() for raw in raw_maps]
            loss(maps, targets)["total"].backward()
            synchronise(device)

        return step

    steps = {"network alone": network_alone}
    for kind in ("yolov3", "ciou"):
        for assignment in ("best", "neighbours"):
            steps[f"loss {kind}, {assignment}"] = loss_of(kind, assignment)
    seconds = interleaved(steps, options.rounds)
    print(f"\nassignment + loss with backward, batch {count}, {size}x{size}, {precision}")
    print(f"{'':28}{'ms':>9}{'of the network':>16}")
    for name, median in seconds.items():
        print(f"{name:28}{1000 * median:9.1f}{median / seconds['network alone']:15.1%}")


def waiting_table(options: argparse.Namespace, config: Config, device: torch.device) -> None:
    """A stretch of real batches: how long the step waits for them, by number of workers."""
    dataset = DetectionDataset(options.data, "train", allow_missing=True)
    print(f"\nwaiting for batches of {options.data}, batch {options.batch}")
    print(f"{'size':>5}{'workers':>9}{'images/s':>10}{'waiting':>9}")
    precision = pick_precision("auto", device)
    for size in options.sizes:
        for workers in (0, 1, 2):
            sampler = BatchSampler(len(dataset), options.batch, (size, size))
            loader = make_loader(dataset, sampler, augment=AugmentSettings(), workers=workers)
            network = make_network(config, True, device)
            waited = total = 0.0
            mark = time.perf_counter()
            for number, batch in enumerate(loader):
                arrived = time.perf_counter()
                with autocast(device, precision):
                    raw_maps = network(batch.images.to(device))
                network.loss(raw_maps, batch.targets.to(device))["total"].backward()
                synchronise(device)
                if number:  # the first batch waits for the workers to start
                    waited += arrived - mark
                    total += time.perf_counter() - mark
                mark = time.perf_counter()
                if number == options.rounds + 1:
                    break
            rate = options.batch * (options.rounds + 1) / total
            print(f"{size:>5}{workers:>9}{rate:10.1f}{waited / total:9.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448], help="square input sizes")
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--compile", action="store_true", help="also a row with torch.compile (warms up for a minute)")
    parser.add_argument("--attention", default="none", help="attention of the resnet18 backbone")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--data", help="a KITTI-layout data set, for the table of waiting")
    options = parser.parse_args()
    config = Config().override([f"network.attention={options.attention}"])
    device = pick_device(options.device)
    precision_table(options, config, device)
    loss_share_table(options, config, device)
    if options.data:
        waiting_table(options, config, device)


if __name__ == "__main__":
    main()
