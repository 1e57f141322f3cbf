"""Several variants by one recipe, with the same data order, seeds and budget, into one table.

The YAML names a recipe and the variants, each by the settings in which it differs. Runs that are finished are kept and
a half-done one goes on, so the command can be stopped and given again. All variants of one seed come before the next
seed, so that a table of fewer seeds is there early. With `--only`, machines or processes that share the runs folder
share the work; the command without it then finds everything trained and writes the table.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from system.files import write_text
from training.compare_table import Judge, Row, markdown, plot_against_fps, plot_curves, table_csv
from training.comparison import Comparison, Configs, check_labels, read_at_once
from training.run import train_in

WARM_UPS = 3  # rounds that do not count
Judges = Mapping[str, Judge]  # by the name of their task


def compare(
    judges: Judges, path: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), seeds: Sequence[int] = ()
) -> int:
    """Trains what is not trained yet, then writes the table; with `only`, trains these variants and writes none.
    `overrides` change the recipe, not what a variant or a seed sets; `seeds` go before the file's. Returns the exit
    status."""
    judge, comparison, configs = read(judges, path, overrides, seeds)
    check_labels(path, comparison, only)
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
    """Who judges, the comparison, and the config of every (variant, seed)."""
    kinds = {task: judge.task.config_type for task, judge in judges.items()}
    comparison, at_once = read_at_once(kinds, path, overrides, seeds)
    configs = {
        (label, seed): kinds[config.task].parse(config.plain(), where=f"{path}: variants.{label}")
        for (label, seed), config in at_once.items()
    }
    return judges[next(iter(configs.values())).task], comparison, configs


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
