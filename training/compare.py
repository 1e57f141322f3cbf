"""Several variants by one recipe, with the same data order, seeds and budget, into one table.

The YAML names a recipe and the variants, each by the settings in which it differs. Runs that are finished are kept and
a half-done one goes on, so the command can be stopped and given again. All variants of one seed come before the next
seed, so that a table of fewer seeds is there early. With `--only`, machines or processes that share the runs folder
share the work; the command without it then finds everything trained and writes the table.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from data.settings import Settings
from system.command import Parser, exit_status, names
from system.files import write_text
from system.names import check_name
from training.compare_table import Judge, Row, markdown, plot_against_fps, plot_curves, table_csv
from training.config import RunConfig
from training.run import check_run_name, train_in
from training.values import ConfigError, config_path, merge, read_yaml

WARM_UPS = 3  # rounds that do not count
Judges = Mapping[str, Judge]  # by the name of their task
Configs = Mapping[tuple[str, int], RunConfig]  # by variant and seed


class Comparison(Settings):
    """What a comparison file holds."""

    name: str = Field(description="folder of the comparison in the runs folder")
    recipe: str = Field(description="config that all variants share, relative to this file")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="every variant is trained with each of these")
    baseline: str = Field("none", description="variant that the others' ratios refer to")
    variants: dict[str, dict[str, Any]] = Field(min_length=1, description="label: the settings that differ")
    relative: dict[str, str] = Field({}, description="label: the variant of whose gain its own is told as a multiple")
    rounds: int = Field(30, ge=1, description="rounds of the interleaved speed measurement")


def compare(
    judges: Judges, path: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), seeds: Sequence[int] = ()
) -> int:
    """Trains what is not trained yet, then writes the table; with `only`, trains these variants and writes none.
    `overrides` change the recipe, not what a variant or a seed sets; `seeds` go before the file's. Returns the exit
    status."""
    judge, comparison, configs = read(judges, path, overrides, seeds)
    _check_labels(path, comparison, only)
    folder = Path(next(iter(configs.values())).train.runs) / comparison.name
    for seed in comparison.seeds:
        for label in only or comparison.variants:
            stopped_by = train_in(folder / f"{label}-seed{seed}", judge.task(configs[label, seed]))
            if stopped_by:
                print("stopped and saved; the same command goes on")
                return 128 + stopped_by
    if only:
        print(f"trained: {', '.join(only)}; the same command without --only writes the table")
        return 0
    rows = _rows(judge, comparison, configs, folder)
    table = markdown(judge, rows, comparison.baseline, comparison.relative, _caption(judge, comparison, configs))
    write_text(folder / "table.md", table)
    write_text(folder / "table.csv", table_csv(rows))
    plot_against_fps(judge, rows, folder / f"{judge.against_fps}.png")
    plot_curves(judge, rows, folder / "curves.png")
    print(table)
    print(f"written: {folder}/table.md, table.csv, {judge.against_fps}.png, curves.png")
    return 0


def read(
    judges: Judges, path: Path, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> tuple[Judge, Comparison, Configs]:
    """Who judges, the comparison, and the config of every (variant, seed). The recipe says which task; one that says
    none is of the first."""
    values = read_yaml(path)
    if seeds:
        values["seeds"] = seeds
    try:
        comparison = Comparison.model_validate(values)
    except ValidationError as fault:
        error = fault.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, error['loc']))}: {error['msg'].lower()}") from None
    for what, name in (("name", comparison.name), *(("variant", label) for label in comparison.variants)):
        check_run_name(f"{path}: {what}", name)
    if len(set(comparison.seeds)) < len(comparison.seeds):
        raise ConfigError(f"{path}: seeds {list(comparison.seeds)}: one stands there twice; each is trained once")
    if comparison.baseline not in comparison.variants:
        raise ConfigError(f"{path}: baseline {comparison.baseline!r} is not among the variants")
    recipe_file = path.parent / comparison.recipe
    named = read_yaml(recipe_file).get("task", next(iter(judges)))
    judge = judges[check_name("task", named, judges)]
    config_type = judge.task.config_type
    recipe = config_type.load(recipe_file, overrides).plain()
    configs = {}
    for label, difference in comparison.variants.items():
        for seed in comparison.seeds:
            values = merge(merge(recipe, difference), {"train": {"seed": seed}})
            configs[label, seed] = config_type.parse(values, where=f"{path}: variants.{label}")
    return judge, comparison, configs


def _check_labels(path: Path, comparison: Comparison, only: Sequence[str]) -> None:
    named = [*only, *comparison.relative.keys(), *comparison.relative.values()]
    unknown = [label for label in named if label not in comparison.variants]
    if unknown:
        raise ConfigError(f"{path}: no variant {unknown[0]!r}; there are {', '.join(comparison.variants)}")


def _rows(judge: Judge, comparison: Comparison, configs: Configs, folder: Path) -> list[Row]:
    first = comparison.seeds[0]
    checkpoints = {label: folder / f"{label}-seed{first}" / "last.pt" for label in comparison.variants}
    fps = measure_fps(judge, checkpoints, comparison.rounds)
    rows = []
    for label in comparison.variants:
        params, macs = judge.cost(configs[label, first], checkpoints[label])
        runs = [_read_run(folder / f"{label}-seed{seed}" / "metrics.csv") for seed in comparison.seeds]
        epochs = [int(row["epoch"]) for row in runs[0] if _results(judge, row)]
        curves = {
            epoch: _of_seeds([_results(judge, run[epoch - 1]) for run in runs])
            for epoch in epochs
            if all(len(run) >= epoch and _results(judge, run[epoch - 1]) for run in runs)
        }
        minutes = statistics.mean(float(run[-1]["minutes"]) for run in runs)
        # The last epoch: the end of an equal budget, not the luckiest moment of each.
        metrics = _of_seeds([_results(judge, run[-1]) for run in runs])
        rows.append(Row(label, params, macs, fps[label], minutes, metrics, curves))
    return rows


def _read_run(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _results(judge: Judge, row: Mapping[str, str]) -> dict[str, float]:
    """The metrics of an epoch; none where it was not validated."""
    return {name: float(value) for name, value in row.items() if judge.is_metric(name) and value}


def _of_seeds(results: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [result[name] for result in results] for name in results[0]}


def measure_fps(judge: Judge, checkpoints: Mapping[str, Path], rounds: int) -> dict[str, float]:
    """Images per second of the network alone, one image at a time, fp32; variants take turns, the median counts."""
    runners = {label: judge.runner(checkpoint) for label, checkpoint in checkpoints.items()}
    times: dict[str, list[float]] = {label: [] for label in runners}
    for round_number in range(rounds + WARM_UPS):
        for label, run in runners.items():
            start = time.perf_counter()
            run()
            if round_number >= WARM_UPS:
                times[label].append(time.perf_counter() - start)
    return {label: 1 / statistics.median(seconds) for label, seconds in times.items()}


def _caption(judge: Judge, comparison: Comparison, configs: Configs) -> str:
    config = configs[comparison.baseline, comparison.seeds[0]]
    phases = ", ".join(f"{phase.epochs} at {'x'.join(map(str, phase.height_width))}" for phase in config.phases)
    count = len(comparison.seeds)
    return (
        f"Recipe `{comparison.recipe}`, epochs: {phases}; {judge.caption(config)} at the last epoch; "
        f"{count} seed{'s' * (count != 1)}: mean ± standard deviation, differences taken seed by seed; all in percent. "
        "fps: the network alone, one image at a time, fp32, variants in turns. minutes: of a training, its validations "
        "left out."
    )


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1,2") from None


def command(judges: Judges, prog: str, description: str, example: str) -> int:
    """The command line of a comparison of these tasks."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("comparison", type=config_path, help=f"a comparison file, for example {example}")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of the recipe that differ")
    parser.add_argument("--only", type=names, default=(), metavar="LABEL,..", help="train these, write no table")
    parser.add_argument("--seeds", type=_seeds, default=(), metavar="N,..", help="train each variant with these")
    args = parser.parse_intermixed_args()
    return exit_status(lambda: compare(judges, args.comparison, args.overrides, args.only, args.seeds))
