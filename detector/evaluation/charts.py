"""The pictures of a report, drawn with matplotlib into PNG bytes, each for light and for dark surroundings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from detector.evaluation.errors import Diagnosis, average_precision, scores_of
from detector.evaluation.kitti_ap import Curve
from detector.evaluation.matching import BoolArray, IntArray, heights

HEIGHT_BINS = (25.0, 40.0, 60.0, 100.0, float("inf"))  # pixels; KITTI's limits are 25 and 40
OCCLUSION = ("fully visible", "partly occluded", "largely occluded")


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
    return {theme.name: _png(finished(drawing, theme)) for theme in (LIGHT, DARK)}


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


def precision_recall(kitti: Mapping[str, Mapping[str, Curve]]) -> Drawing:
    """One panel a class, one line a difficulty, over the 41 recall points of KITTI."""

    def drawing(theme: Theme) -> Figure:
        figure, panels = _panels(theme, max(len(kitti), 1), height=4)
        for axes, (name, curves) in zip(panels, kitti.items(), strict=False):
            for colour, (level, curve) in zip(theme.series, curves.items(), strict=False):
                reached = max(len(curve.thresholds), 1)
                recall = np.arange(reached) / 40
                label = f"{level} {curve.AP40:.1f}  (n={curve.n_gt})" if curve.n_gt else f"{level}, no objects"
                axes.plot(recall, curve.precision[:reached], color=colour, lw=2, label=label, solid_capstyle="round")
            axes.set(title=name, xlabel="recall", xlim=(0, 1), ylim=(0, 1.03))
            # Below the panel: inside it, a curve of some class or other always runs there.
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), title="AP40", alignment="left")
        panels[0].set_ylabel("precision")
        return figure

    return drawing


def confusion_matrix(matrix: IntArray, classes: Sequence[str]) -> Drawing:
    """Rows are true classes, shaded by the share of the row."""

    def drawing(theme: Theme) -> Figure:
        size = 2.3 + 0.5 * len(matrix)
        figure = _figure(theme, size + 0.7, size)
        axes = figure.add_subplot()
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        shades = LinearSegmentedColormap.from_list("share", [theme.paper, theme.right])
        axes.imshow(share, cmap=shades, vmin=0, vmax=1)
        for row, column in np.argwhere(matrix):
            strong = share[row, column] > 0.75
            axes.text(
                *(column, row, f"{matrix[row, column]}"),
                ha="center",
                va="center",
                fontsize=9,
                color=theme.paper if strong else theme.ink,
                fontweight="bold" if row == column else "normal",
            )
        ticks = range(len(matrix))
        axes.set_xticks(ticks, [*classes, "not found"], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, [*classes, "background"])
        axes.set(xlabel="detected as", ylabel="true class")
        axes.axhline(len(classes) - 0.5, color=theme.ink, lw=1)
        axes.axvline(len(classes) - 0.5, color=theme.ink, lw=1)
        _plain(axes, theme)
        axes.grid(False)
        return figure

    return drawing


def ap_by_height(diagnosis: Diagnosis, classes: Sequence[str]) -> Drawing:
    """A group of bars for each range of box height; wrong detections count in their own range."""
    of_object, of_detection = heights(diagnosis.objects), heights(diagnosis.detections)
    groups = {}
    for low, high in pairwise(HEIGHT_BINS):
        label = f"{low:g} to {high:g} px" if np.isfinite(high) else f"above {low:g} px"
        groups[label] = ((of_object > low) & (of_object <= high), (of_detection > low) & (of_detection <= high))
    return _grouped_bars(diagnosis, classes, groups)


def ap_by_occlusion(diagnosis: Diagnosis, classes: Sequence[str]) -> Drawing:
    """A group of bars for each occlusion state; wrong detections, which have none, count in each."""
    everything = np.ones(len(diagnosis.detections), np.bool_)
    groups = {label: (diagnosis.objects.occlusion == state, everything) for state, label in enumerate(OCCLUSION)}
    return _grouped_bars(diagnosis, classes, groups)


def score_histograms(diagnosis: Diagnosis, classes: Sequence[str], threshold: float) -> Drawing:
    """Right and wrong detections of each class by score; the counts on a logarithmic axis."""

    def drawing(theme: Theme) -> Figure:
        figure, panels = _panels(theme, max(len(classes), 1), height=2.9)
        scores = diagnosis.detections.scores
        low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
        bins = np.linspace(min(low, 0.0), max(high, 1.0), 31).tolist()
        for axes, name in zip(panels, classes, strict=False):
            right, wrong = scores_of(diagnosis, name)
            axes.hist(wrong, bins, color=theme.wrong, alpha=0.75, label=f"wrong ({len(wrong)})")
            axes.hist(right, bins, color=theme.right, alpha=0.75, label=f"right ({len(right)})")
            axes.axvline(threshold, color=theme.ink, lw=1, ls=(0, (4, 3)))
            axes.set(title=name, xlabel="score", xlim=(bins[0], bins[-1]))
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(0, 12 * max(axes.get_ylim()[1], 2))  # room for the legend
            axes.minorticks_off()
            axes.legend(loc="upper right")
        panels[0].set_ylabel("detections")
        return figure

    return drawing


def error_split(counts: Mapping[str, int], gains: Mapping[str, float]) -> Drawing:
    """How many errors of each kind at the operating point, and what each kind costs."""

    def drawing(theme: Theme) -> Figure:
        figure, panels = _panels(theme, 2, height=2.9)
        for axes, values, title, spelled in (
            (panels[0], counts, "how many", "{:.0f}"),
            (panels[1], gains, "moderate AP40 won if there were none", "{:+.1f}"),
        ):
            kinds = list(counts)[::-1]
            lengths = [values[kind] for kind in kinds]
            axes.barh(kinds, lengths, color=theme.wrong if values is counts else theme.right, height=0.62)
            span = max(max(lengths, default=0), 1e-9)
            for row, length in enumerate(lengths):
                axes.text(max(length, 0) + 0.015 * span, row, spelled.format(length), va="center", color=theme.ink)
            axes.set(title=title, xlim=(min(0, *lengths), span * 1.16))
            axes.grid(axis="y", visible=False)
        panels[1].set_yticklabels([])
        return figure

    return drawing


def _grouped_bars(
    diagnosis: Diagnosis, classes: Sequence[str], groups: Mapping[str, tuple[BoolArray, BoolArray]]
) -> Drawing:
    def drawing(theme: Theme) -> Figure:
        figure, (axes,) = _panels(theme, 1, height=3.0)
        width = 0.8 / max(len(classes), 1)
        for k, (name, colour) in enumerate(zip(classes, theme.series, strict=False)):
            for place, (objects, judged) in enumerate(groups.values()):
                n_gt = int((objects & diagnosis.counted & diagnosis.objects.named(name)).sum())
                ap = average_precision(diagnosis, name, objects, judged)
                x = place - 0.4 + width * (k + 0.5)
                axes.bar(x, 0 if np.isnan(ap) else ap, width * 0.9, color=colour, label=name if place == 0 else None)
                text = f"{ap:.0f}\n" if n_gt else ""
                axes.text(
                    *(x, (0 if np.isnan(ap) else ap) + 1.5, f"{text}n={n_gt}"),
                    ha="center",
                    va="bottom",
                    fontsize=8 if len(classes) < 5 else 6,
                    color=theme.ink,
                    linespacing=1.15,
                )
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set(ylabel="AP in percent", ylim=(0, 118), yticks=range(0, 101, 20))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(classes))
        return figure

    return drawing


def _figure(theme: Theme, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(hspace=0.09), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def _panels(theme: Theme, count: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 4 if count > 3 else 3)
    rows = -(-count // columns)
    figure = _figure(theme, 10, height * rows)
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for axes in panels:
        _plain(axes, theme)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def _plain(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.set_axisbelow(True)
    axes.grid(color=theme.faint, lw=0.8)
    axes.tick_params(colors=theme.ink, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(theme.ink)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144, facecolor=figure.get_facecolor())
    return stream.getvalue()
