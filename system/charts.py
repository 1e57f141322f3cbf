"""Pictures of a report, drawn with matplotlib into PNG bytes, each for light and for dark surroundings."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one surrounding. `series` tell classes apart, also for the colour-blind (after Okabe and Ito)."""

    name: str
    ink: str
    faint: str
    paper: str
    right: str
    wrong: str
    deep: str
    series: tuple[str, ...]


LIGHT = Theme(
    *("light", "#1d2430", "#d8dde6", "#ffffff", "#2a78b8", "#d1602a", "#14527f"),
    series=("#0072b2", "#d55e00", "#009e73", "#b0559a", "#c28a00", "#3d9fd6", "#5d6673", "#7a5c3e"),
)
DARK = Theme(
    *("dark", "#e4e8ef", "#3a4352", "#161b24", "#5aa9e6", "#f08a55", "#7cc0f5"),
    series=("#56b4e9", "#f0883e", "#2fc49a", "#d98cc4", "#e8c04a", "#8ecdf2", "#aab3c0", "#c9a27c"),
)

Drawing = Callable[[Theme], Figure]


def draw(drawing: Drawing) -> dict[str, bytes]:
    """PNG bytes by theme name."""
    return {theme.name: png(finished(drawing, theme)) for theme in (LIGHT, DARK)}


def finished(drawing: Drawing, theme: Theme = LIGHT) -> Figure:
    """The figure with its titles and legends in the colours of the theme, ready to be saved or logged."""
    figure = drawing(theme)
    for axes in figure.axes:
        axes.title.set(fontweight="bold", fontsize=11)
        legend = axes.get_legend()
        if legend:
            legend.get_frame().set(facecolor=theme.paper, alpha=0.85, linewidth=0)
            for text in (legend.get_title(), *legend.get_texts()):
                text.set_color(theme.ink)
                text.set_fontsize(9)
    return figure


def new_figure(theme: Theme, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(hspace=0.09), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def new_panels(theme: Theme, count: int, height: float) -> tuple[Figure, list[Axes]]:
    """At least `count` of them, in rows; those beyond are hidden."""
    columns = min(count, 4 if count > 3 else 3)
    rows = -(-count // columns)
    figure = new_figure(theme, 10, height * rows)
    every = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for axes in every:
        plain(axes, theme)
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, every


def shaded_counts(
    theme: Theme, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]
) -> tuple[Figure, Axes]:
    """A matrix of counts with its names, shaded by the share of the row."""
    size = 2.3 + 0.5 * len(counts)
    figure = new_figure(theme, size + 0.7, size)
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap=LinearSegmentedColormap.from_list("share", [theme.paper, theme.right]), vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        strong = share[row, column] > 0.75
        axes.text(
            *(column, row, f"{counts[row, column]}"),
            ha="center",
            va="center",
            fontsize=9,
            color=theme.paper if strong else theme.ink,
            fontweight="bold" if row == column else "normal",
        )
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    plain(axes, theme)
    axes.grid(False)
    return figure, axes


def plain(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.set_axisbelow(True)
    axes.grid(color=theme.faint, lw=0.8)
    axes.tick_params(colors=theme.ink, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(theme.ink)


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144, facecolor=figure.get_facecolor())
    return stream.getvalue()
