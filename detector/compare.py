"""Several variants by one recipe, with the same data order, seeds and budget, into one table: the paper's Table 7.

    python -m detector.compare configs/compare-kitti.yaml
    python -m detector.compare configs/compare-kitti.yaml data.root=frames phases.0.epochs=10 --seeds 0,1

The YAML names a recipe and the variants, each by the settings in which it differs. Runs that are finished are kept and
a half-done one goes on, so the command can be stopped and given again. All variants of one seed come before the next
seed, so that a table of fewer seeds is there early. With `--only`, machines or processes that share the runs folder
share the work; the command without it then finds everything trained and writes the table.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from data.settings import Settings
from detector.config import Config
from detector.evaluation.kitti_ap import MIN_OVERLAP
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import load_trained
from detector.network.profile import cost
from detector.task import DetectionTask
from system.command import Parser, exit_status, names
from system.files import replacing, write_text
from training.config import ConfigError, merge, read_yaml
from training.run import train_in

LEVELS = ("easy", "moderate", "hard")


class Comparison(Settings):
    """What a comparison file holds."""

    name: str = Field(description="folder of the comparison in the runs folder")
    recipe: str = Field(description="config that all variants share, relative to this file")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="every variant is trained with each of these")
    baseline: str = Field("none", description="variant that the others' ratios refer to")
    variants: dict[str, dict[str, Any]] = Field(min_length=1, description="label: the settings that differ")
    rounds: int = Field(30, ge=1, description="rounds of the interleaved speed measurement")


@dataclass(frozen=True, slots=True)
class Row:
    """One variant: its cost, and every metric of every seed."""

    label: str
    params: int
    macs: int
    fps: float
    metrics: Mapping[str, Sequence[float]]

    @property
    def map50(self) -> list[float]:
        """COCO's mAP50 of every seed, in percent."""
        return [100 * value for value in self.metrics["mAP50"]]

    @property
    def moderate(self) -> list[float]:
        """The mean moderate AP40 of KITTI's classes of every seed, which a rare class cannot sway as it does mAP50."""
        names = [f"AP40_{name}_moderate" for name in MIN_OVERLAP]
        present = [self.metrics[name] for name in names if name in self.metrics]
        return [statistics.mean(values) for values in zip(*present, strict=True)]


def compare(path: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), seeds: Sequence[int] = ()) -> int:
    """Trains what is not trained yet, then writes the table; with `only`, trains these variants and writes none.
    `overrides` change the recipe, not what a variant or a seed sets; `seeds` go before the file's. Returns the exit
    status."""
    comparison, configs = _read(path, overrides, seeds)
    unknown = [label for label in only if label not in comparison.variants]
    if unknown:
        raise ConfigError(f"{path}: no variant {unknown[0]!r}; there are {', '.join(comparison.variants)}")
    folder = Path(next(iter(configs.values())).train.runs) / comparison.name
    for seed in comparison.seeds:
        for label in only or comparison.variants:
            stopped_by = train_in(folder / f"{label}-seed{seed}", DetectionTask(configs[label, seed]))
            if stopped_by:
                print("stopped and saved; the same command goes on")
                return 128 + stopped_by
    if only:
        print(f"trained: {', '.join(only)}; the same command without --only writes the table")
        return 0
    rows = _rows(comparison, folder)
    for name, text in (("table.md", markdown(rows, comparison, configs)), ("table.csv", table_csv(rows))):
        write_text(folder / name, text)
    plot(rows, folder / "ap_against_fps.png")
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"written: {folder}/table.md, table.csv, ap_against_fps.png")
    return 0


def _read(
    path: Path, overrides: Sequence[str], seeds: Sequence[int] = ()
) -> tuple[Comparison, dict[tuple[str, int], Config]]:
    """The comparison, and the config of every (variant, seed)."""
    values = read_yaml(path)
    if seeds:
        values["seeds"] = seeds
    try:
        comparison = Comparison.model_validate(values)
    except ValidationError as fault:
        error = fault.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, error['loc']))}: {error['msg'].lower()}") from None
    if comparison.baseline not in comparison.variants:
        raise ConfigError(f"{path}: baseline {comparison.baseline!r} is not among the variants")
    recipe = Config.load(path.parent / comparison.recipe, overrides).plain()
    configs = {}
    for label, difference in comparison.variants.items():
        for seed in comparison.seeds:
            values = merge(merge(recipe, difference), {"train": {"seed": seed}})
            configs[label, seed] = Config.parse(values, where=f"{path}: variants.{label}")
    return comparison, configs


def _rows(comparison: Comparison, folder: Path) -> list[Row]:
    fps = measure_fps(
        {label: folder / f"{label}-seed{comparison.seeds[0]}" / "last.pt" for label in comparison.variants},
        comparison.rounds,
    )
    rows = []
    for label in comparison.variants:
        trained = load_trained(folder / f"{label}-seed{comparison.seeds[0]}" / "last.pt")
        config = trained.config  # which says what the file may leave to the data
        spent = cost(config.network, len(trained.classes), config.size)
        results = [last_metrics(folder / f"{label}-seed{seed}" / "metrics.csv") for seed in comparison.seeds]
        metrics = {name: [result[name] for result in results] for name in results[0]}
        rows.append(Row(label, spent.params, spent.macs, fps[label], metrics))
    return rows


def last_metrics(path: Path) -> dict[str, float]:
    """The metrics of the last epoch: the end of an equal budget, not the luckiest moment of each."""
    with open(path, newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    return {name: float(value) for name, value in row.items() if name.startswith(("mAP", "AP")) and value}


def measure_fps(checkpoints: Mapping[str, Path], rounds: int) -> dict[str, float]:
    """Images per second of the network alone, one image at a time, fp32; variants take turns, the median counts."""
    backends = {}
    for label, path in checkpoints.items():
        trained = load_trained(path)
        config = trained.config
        backends[label] = TorchBackend(
            trained.build(), trained.classes, config.data.resize, config.size, precision="fp32"
        )
    times: dict[str, list[float]] = {label: [] for label in backends}
    for round_number in range(rounds + 3):
        for label, backend in backends.items():
            image = np.full((1, *backend.size, 3), 114, np.uint8)
            start = time.perf_counter()
            backend.run(image)
            backend.wait()
            if round_number >= 3:  # the first rounds warm up
                times[label].append(time.perf_counter() - start)
    return {label: 1 / statistics.median(seconds) for label, seconds in times.items()}


def table_csv(rows: Sequence[Row]) -> str:
    """Every seed's figure of every metric, for whoever wants to compute with them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["variant", "metric", "seed_index", "value"])
    for row in rows:
        for name, value in (("params", row.params), ("macs", row.macs), ("fps", row.fps)):
            writer.writerow([row.label, name, "", value])
        for name, values in row.metrics.items():
            writer.writerows([row.label, name, k, value] for k, value in enumerate(values))
    return text.getvalue()


def markdown(rows: Sequence[Row], comparison: Comparison, configs: Mapping[tuple[str, int], Config]) -> str:
    """mAP50 and mean moderate AP40 with their differences to the baseline, AP40 in full, cost, speed."""
    base = next(row for row in rows if row.label == comparison.baseline)
    config = configs[comparison.baseline, comparison.seeds[0]]
    classes = [name for name in MIN_OVERLAP if f"AP40_{name}_moderate" in base.metrics]
    phases = ", ".join(f"{p.epochs} at {'x'.join(map(str, p.height_width))}" for p in config.phases)
    scores = ["mAP50", "mean AP40"] if classes else ["mAP50"]
    columns = ["variant", *(cell for score in scores for cell in (score, f"minus {base.label}"))]
    columns += [*(f"{name} AP40" for name in classes), "params (M)", "GFLOPs", "fps", f"ratio to {base.label}"]
    lines = [
        f"Recipe `{comparison.recipe}`, epochs: {phases}; trained on {config.data.root} `{config.data.train_split}`, "
        f"scored on `{config.data.val_split}` at the last epoch; {_count(comparison.seeds, 'seed')}: mean ± standard "
        "deviation, differences taken seed by seed. mAP50 is COCO's over all classes, AP40 KITTI's, easy / moderate / "
        "hard, its mean that of the moderate ones; all in percent. fps: the network alone, one image at a time, fp32, "
        "variants in turns.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in rows:
        cells = [row.label]
        for values, plain in ((row.map50, base.map50), (row.moderate, base.moderate))[: len(scores)]:
            differences = [value - other for value, other in zip(values, plain, strict=True)]
            cells += [_with_spread(values, ".1f"), "-" if row is base else _with_spread(differences, "+.1f")]
        cells += [
            " / ".join(f"{statistics.mean(row.metrics.get(f'AP40_{name}_{level}', [0.0])):.1f}" for level in LEVELS)
            for name in classes
        ]
        cells += [f"{row.params / 2**20:.2f}", f"{row.macs / 2**30:.2f}", f"{row.fps:.1f}", f"{row.fps / base.fps:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """mAP50, and the mean moderate AP40 where there is one, against fps: a point a variant, bars of one deviation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {"mAP50 (%)": [row.map50 for row in rows], "mean moderate AP40 (%)": [row.moderate for row in rows]}
    panels = {name: values for name, values in panels.items() if all(values)}
    figure = Figure(figsize=(2 + 4.5 * len(panels), 4.5), layout="constrained")
    for number, (name, seeds_of_row) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        for row, values in zip(rows, seeds_of_row, strict=True):
            mean, spread = _mean_and_spread(values)
            axes.errorbar(row.fps, mean, yerr=spread or None, fmt="o", capsize=3, label=row.label)
        axes.set(xlabel="images per second, one at a time", ylabel=name)
        axes.margins(0.15)
        axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)  # beside: points lie too close for names
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))


def _with_spread(values: Sequence[float], form: str) -> str:
    mean, spread = _mean_and_spread(values)
    return f"{mean:{form}}" + (f" ± {spread:.1f}" if len(values) > 1 else "")


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1,2") from None


def main() -> int:
    parser = Parser(prog="python -m detector.compare", description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="a comparison file, for example configs/compare-kitti.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of the recipe that differ")
    parser.add_argument("--only", type=names, default=(), metavar="LABEL,..", help="train these, write no table")
    parser.add_argument("--seeds", type=_seeds, default=(), metavar="N,..", help="train each variant with these")
    args = parser.parse_intermixed_args()
    return exit_status(lambda: compare(args.comparison, args.overrides, args.only, args.seeds))


if __name__ == "__main__":
    sys.exit(main())
