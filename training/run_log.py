"""What a run leaves to look at: one progress line, metrics.csv, TensorBoard events and plots in the run folder."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from system.command import INDENT, folded
from system.files import replacing, write_text
from training.config import RunConfig
from training.progress import Progress
from training.task import Chart, Validation

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {remaining} left{postfix}"


class RunLog:
    """Writes for the main rank; on the others every method does nothing."""

    def __init__(self, folder: Path, active: bool, chart: Chart) -> None:
        self.folder = folder
        self.active = active
        self.chart = chart
        self.rows: list[dict[str, Any]] = []
        self._events: SummaryWriter | None = None
        self._bar: tqdm[Any] | None = None

    def open(self, config: RunConfig, epochs_done: int) -> None:
        """Starts or continues the folder; rows of epochs that a resumed run repeats are dropped."""
        if not self.active:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "config.yaml", yaml.safe_dump(config.plain(), sort_keys=False))
        if epochs_done and (self.folder / "metrics.csv").exists():
            with open(self.folder / "metrics.csv", newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epochs_done]
        self._events = SummaryWriter(str(self.folder / "tensorboard"))

    def say(self, message: str) -> None:
        """A line that does not tear the progress bar. A terminal gets it in as many lines as it takes."""
        if self.active:
            shown = "\n".join(map(folded, message.splitlines())) if sys.stderr.isatty() else message
            tqdm.write(shown, file=sys.stderr)

    def start_epoch(self, title: str, steps: int, done: int) -> None:
        if self.active:
            self._bar = tqdm(
                total=steps, initial=done, desc=title, bar_format=BAR, dynamic_ncols=True, leave=False,
                disable=not sys.stderr.isatty(), file=sys.stderr,
            )  # fmt: skip

    def step(self, progress: Progress, parts: Mapping[str, float], lr: float, size: Sequence[int]) -> None:
        """One optimiser step: moves the bar, and the curves of TensorBoard."""
        rate = progress.images_per_second
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {parts['total']:.3g} {size[0]}x{size[1]} {rate:.1f} img/s", refresh=False)
            self._bar.update()
        if self._events is not None:
            for name, value in {**parts, "lr": lr, "images_per_second": rate}.items():
                self._events.add_scalar(f"train/{name}", value, progress.step)

    def end_steps(self) -> None:
        """The epoch's bar goes: validation may have one of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def end_epoch(
        self, row: Mapping[str, Any], epochs: int, seconds_left: float, validation: Validation | None
    ) -> None:
        """Adds a row to metrics.csv (rewritten whole, so that it is never torn) and prints the epoch's lines."""
        if not self.active:
            return
        self.rows.append(dict(row))
        columns = list(dict.fromkeys(name for kept in self.rows for name in kept))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "metrics.csv", text.getvalue())
        self.say(_epoch_lines(row, epochs, seconds_left))
        if validation:
            self.say(_indented(validation.line))
            self._show_validation(int(row["step"]), validation)

    def _show_validation(self, step: int, validation: Validation) -> None:
        """Metrics, a few pictures and the task's figures to TensorBoard."""
        if self._events is None:
            return
        for name, value in validation.metrics.items():
            self._events.add_scalar(f"val/{name}", value, step)
        for k, picture in enumerate(validation.pictures):
            self._events.add_image(f"val/frame_{k}", picture, step, dataformats="HWC")
        for name, figure in validation.figures.items():
            self._events.add_figure(f"val/{name}", figure, step)
        self._events.flush()

    def close(self) -> None:
        self.end_steps()
        if self._events is not None:
            self._events.close()
        if self.active and self.rows:
            plot_run(self.folder, self.rows, self.chart)


def _epoch_lines(row: Mapping[str, Any], epochs: int, seconds_left: float) -> str:
    """How it goes, and below it the losses."""
    losses = "  ".join(f"{name[5:]} {value:.3f}" for name, value in row.items() if name.startswith("loss_"))
    return (
        f"epoch {row['epoch']}/{epochs}  {row['height']}x{row['width']}  lr {row['lr']:.2g}  "
        f"{row['images_per_second']:.1f} img/s  wait {row['wait_share']:.0%}  left {seconds_left / 60:.0f} min\n"
        + _indented(f"loss  {losses}")
    )


def _indented(line: str) -> str:
    return folded(line, INDENT)


def plot_run(folder: Path, rows: list[dict[str, Any]], chart: Chart) -> None:
    """losses.png, lr.png and the task's chart of its validations, over epochs."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    charts: dict[str, tuple[str, dict[str, float]]] = {
        "losses": ("Training loss (mean over the epoch)", {name: 1.0 for name in columns if name.startswith("loss_")}),
        chart.name: ("Validation", {name: scale for name in columns if (scale := chart.scale(name)) is not None}),
        "lr": ("Learning rate at the end of the epoch", {"lr": 1.0}),
    }
    for file, (title, scales) in charts.items():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for name, scale in scales.items():
            points = [(int(row["epoch"]), float(row[name]) * scale) for row in rows if row.get(name) not in ("", None)]
            label = name.removeprefix("loss_").replace("_", " ")
            axes.plot([epoch for epoch, _ in points], [value for _, value in points], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(scales) > 1:
            figure.legend(loc="outside right center", frameon=False)
        with replacing(folder / f"{file}.png") as partial:
            FigureCanvasAgg(figure).print_png(str(partial))
