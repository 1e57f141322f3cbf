"""The pictures of a detector's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from detector.evaluation.errors import Diagnosis, average_precision, scores_of
from detector.evaluation.kitti_ap import Curve
from detector.evaluation.matching import BoolArray, IntArray, heights
from system.charts import Drawing, Theme, new_panels, shaded_counts

HEIGHT_BINS = (25.0, 40.0, 60.0, 100.0, float("inf"))  # pixels; KITTI's limits are 25 and 40
OCCLUSION = ("fully visible", "partly occluded", "largely occluded")


def precision_recall(kitti: Mapping[str, Mapping[str, Curve]]) -> Drawing:
    """One panel a class, one line a difficulty, over the 41 recall points of KITTI."""

    def drawing(theme: Theme) -> Figure:
        figure, panels = new_panels(theme, max(len(kitti), 1), height=4)
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
        names = [*classes, "not found"], [*classes, "background"]
        figure, axes = shaded_counts(theme, matrix, rows=names[1], columns=names[0])
        axes.set(xlabel="detected as", ylabel="true class")
        axes.axhline(len(classes) - 0.5, color=theme.ink, lw=1)
        axes.axvline(len(classes) - 0.5, color=theme.ink, lw=1)
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
        figure, panels = new_panels(theme, max(len(classes), 1), height=2.9)
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
        figure, panels = new_panels(theme, 2, height=2.9)
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
        figure, (axes,) = new_panels(theme, 1, height=3.0)
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
