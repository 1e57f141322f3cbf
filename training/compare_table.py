"""What a comparison leaves: a table, every figure as CSV, scores against speed, and the curves of all variants."""

from __future__ import annotations

import csv
import io
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from system.files import replacing
from training.task import Task

Metrics = Mapping[str, Sequence[float]]  # a value for every seed


class Judge(ABC):
    """What a comparison asks of a task, beside training."""

    task: ClassVar[type[Task[Any]]]
    against_fps: ClassVar[str]  # file name of the picture of scores against speed

    @abstractmethod
    def is_metric(self, column: str) -> bool:
        """Whether this column of metrics.csv is a result."""

    @abstractmethod
    def scores(self, metrics: Metrics) -> dict[str, list[float]]:
        """What counts, in percent, seed by seed; each gets a column and its difference to the baseline."""

    def details(self, metrics: Metrics) -> dict[str, str]:
        """More columns."""
        return {}

    @abstractmethod
    def cost(self, config: Any, checkpoint: Path) -> tuple[int, int]:
        """Parameters, and multiply-adds of one image."""

    @abstractmethod
    def runner(self, checkpoint: Path) -> Callable[[], object]:
        """Runs the network on one image in fp32, and returns when that is done."""

    @abstractmethod
    def caption(self, config: Any) -> str:
        """On what was trained, on what it was scored, and what the scores are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One variant: its cost, the minutes that a training took, the metrics of every seed at the last epoch, and those
    of every epoch that was validated."""

    label: str
    params: int
    macs: int
    fps: float
    minutes: float
    metrics: Metrics
    curves: Mapping[int, Metrics]


def table_csv(rows: Sequence[Row]) -> str:
    """Every seed's figure of every metric, for whoever wants to compute with them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["variant", "metric", "seed_index", "value"])
    for row in rows:
        for name in ("params", "macs", "fps", "minutes"):
            writer.writerow([row.label, name, "", getattr(row, name)])
        for name, values in row.metrics.items():
            writer.writerows([row.label, name, k, value] for k, value in enumerate(values))
    return text.getvalue()


def markdown(judge: Judge, rows: Sequence[Row], baseline: str, relative: Mapping[str, str], caption: str) -> str:
    """Scores with their differences to the baseline, the task's details, cost, speed, time. `relative` names for some
    variants another, and their gain over the baseline is told as a multiple of that one's."""
    base = next(row for row in rows if row.label == baseline)
    names = list(judge.scores(base.metrics))
    columns = ["variant", *(cell for name in names for cell in (name, f"minus {baseline}"))]
    columns += [f"{names[0]}: gain over that of"] if relative else []
    columns += [*judge.details(base.metrics), "params (M)", "GFLOPs", "fps", f"ratio to {baseline}", "minutes"]
    lines = [caption, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    by_label = {row.label: row for row in rows}
    for row in rows:
        cells = [row.label]
        for name, values in judge.scores(row.metrics).items():
            gains = _gains(judge, row, base)[name]
            cells += [with_spread(values, ".1f"), "-" if row is base else with_spread(gains, "+.1f")]
        if relative:
            other = by_label.get(relative.get(row.label, ""))
            mine, its = (_gains(judge, r, base)[names[0]] if r else [] for r in (row, other))
            cells.append(_multiple(mine, its, other.label) if other else "-")
        cells += judge.details(row.metrics).values()
        cells += [f"{row.params / 2**20:.2f}", f"{row.macs / 2**30:.2f}", f"{row.fps:.1f}", f"{row.fps / base.fps:.2f}"]
        cells.append(f"{row.minutes:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gains(judge: Judge, row: Row, base: Row) -> dict[str, list[float]]:
    """Differences to the baseline of each score, seed by seed."""
    plain = judge.scores(base.metrics)
    return {
        name: [value - other for value, other in zip(values, plain[name], strict=True)]
        for name, values in judge.scores(row.metrics).items()
    }


def _multiple(gains: Sequence[float], of_other: Sequence[float], other: str) -> str:
    """A gain over no gain has no ratio."""
    mine, its = statistics.mean(gains), statistics.mean(of_other)
    return f"{mine / its:.2f} x {other}" if its > 0 else f"{other} gains nothing"


def plot_against_fps(judge: Judge, rows: Sequence[Row], path: Path) -> None:
    """Every score against fps: a point a variant, bars of one deviation."""

    def draw(axes: Axes, name: str) -> None:
        for row in rows:
            mean, spread = mean_and_spread(judge.scores(row.metrics)[name])
            axes.errorbar(row.fps, mean, yerr=spread or None, fmt="o", capsize=3, label=row.label)
        axes.set(xlabel="images per second, one at a time", ylabel=f"{name} (%)")
        axes.margins(0.15)

    _panels(list(judge.scores(rows[0].metrics)), draw, path)


def plot_curves(judge: Judge, rows: Sequence[Row], path: Path) -> None:
    """Every score over the epochs, a line a variant: the mean of its seeds."""

    def draw(axes: Axes, name: str) -> None:
        for row in rows:
            means = [statistics.mean(judge.scores(metrics)[name]) for metrics in row.curves.values()]
            axes.plot(list(row.curves), means, marker="." if len(means) < 30 else "", label=row.label)
        axes.set(xlabel="epoch", ylabel=f"{name} (%)")

    _panels(list(judge.scores(rows[0].metrics)), draw, path)


def _panels(names: Sequence[str], draw: Callable[[Axes, str], None], path: Path) -> None:
    figure = Figure(figsize=(2 + 4.5 * len(names), 4.5), layout="constrained")
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), number)
        draw(axes, name)
        axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)  # beside: points lie too close for names
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))


def with_spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation, where there are several."""
    mean, spread = mean_and_spread(values)
    return f"{mean:{form}}" + (f" ± {spread:.1f}" if len(values) > 1 else "")


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
