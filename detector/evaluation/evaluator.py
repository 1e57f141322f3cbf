"""Ground truth and detections in, every number out: KITTI AP, COCO AP, and how they are shown. Needs no torch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.annotation import Annotation
from detector.evaluation import coco_ap, coco_arrays
from detector.evaluation.coco_ap import CocoNumbers
from detector.evaluation.columns import Columns, ResultError, from_labels
from detector.evaluation.kitti_ap import RECALL_POINTS, Curve, evaluate_kitti, limit_of
from detector.evaluation.masks import with_masks

COCO_EVALUATORS: dict[str, coco_ap.CocoEvaluator] = {
    "pycocotools": coco_ap.evaluate_coco,
    "arrays": coco_arrays.evaluate_coco,
}
DEFAULT_COCO = "arrays"  # equal to the last digit and some twenty-five times as fast
COCO_TITLE = "COCO AP as fractions (pycocotools' protocol; regions to ignore are crowds)"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All numbers of one run. `kitti` has those of KITTI's classes, where the data is KITTI's, `masks` COCO's of masks,
    where both sides have them."""

    images: int
    classes: tuple[str, ...]
    kitti: dict[str, dict[str, Curve]]
    coco: CocoNumbers
    speed: dict[str, float] = field(default_factory=dict)
    masks: CocoNumbers | None = None

    @property
    def mAP50(self) -> float:
        """Mean COCO AP at IoU .50 over the classes that have objects; 0 if none has."""
        return self.coco.mAP50

    def to_json(self) -> dict[str, Any]:
        """KITTI AP in percent, COCO numbers as fractions (-1: no object to find)."""
        return {
            "images": self.images,
            "classes": list(self.classes),
            "kitti": {
                name: {
                    level: {"AP40": curve.AP40, "AP11": curve.AP11, "n_gt": curve.n_gt}
                    for level, curve in curves.items()
                }
                for name, curves in self.kitti.items()
            },
            "coco": {"stats": self.coco.stats, "per_class": self.coco.per_class},
            **self._masks_json(),
            "mAP50": self.mAP50,
            "speed": self.speed,
        }

    def _masks_json(self) -> dict[str, Any]:
        if self.masks is None:
            return {}
        return {"coco_masks": {"stats": self.masks.stats, "per_class": self.masks.per_class}}

    def table(self) -> str:
        """For a terminal of 80 columns."""
        parts = [self._kitti_table()] if self.kitti else []
        parts.append(_coco_table(self.coco, COCO_TITLE))
        if self.masks:
            parts.append(_coco_table(self.masks, "The same of masks"))
        if self.speed:
            parts.append(self._speed_line())
        parts.extend(textwrap.fill(f"note: {note}", 80, subsequent_indent=" " * 6) for note in self.notes())
        return "\n\n".join(parts)

    def notes(self) -> list[str]:
        """What a reader has to know to read the numbers rightly."""
        few = [
            f"{name} {level} ({curve.n_gt})"
            for name, curves in self.kitti.items()
            for level, curve in curves.items()
            if curve.n_gt < RECALL_POINTS
        ]
        notes = []
        if few:
            notes.append(
                f"AP40 cannot reach 100 with fewer than {RECALL_POINTS} valid objects, "
                f"only (n - 1) / {RECALL_POINTS - 1}: {', '.join(few)}"
            )
        without = [name for name in self.classes if not self.coco.per_class[name]["n_gt"]]
        if without:
            notes.append(f"no objects of {', '.join(without)}: not part of mAP50")
        return notes

    def _kitti_table(self) -> str:
        limits = "/".join(f"{limit_of(name):g}" for name in self.kitti)
        lines = [
            f"KITTI 2D AP40 and AP11 in percent at IoU {limits} ({'/'.join(self.kitti)})",
            f"{f'{self.images} images':<21}{'AP40':>14}{'AP11':>22}{'objects':>20}",
            f"{'':<10}{'easy':>8}{'moderate':>10}{'hard':>7}{'easy':>8}{'mod.':>7}{'hard':>7}{'easy/mod./hard':>20}",
        ]
        for name, curves in self.kitti.items():
            ap40 = (_percent(curve.AP40, curve.n_gt) for curve in curves.values())
            ap11 = (_percent(curve.AP11, curve.n_gt) for curve in curves.values())
            objects = "/".join(str(curve.n_gt) for curve in curves.values())
            cells = zip((*ap40, *ap11, objects), (8, 10, 7, 8, 7, 7, 20), strict=True)
            lines.append(f"{name:<10}" + "".join(f"{cell:>{width}}" for cell, width in cells))
        return "\n".join(lines)

    def _speed_line(self) -> str:
        stages = (("pre-process", "preprocess_ms"), ("network", "network_ms"), ("post-process", "postprocess_ms"))
        parts = " + ".join(f"{label} {self.speed[key]:.1f}" for label, key in stages)
        return f"speed: {parts} ms, {self.speed['images_per_s']:.1f} images/s"


def evaluate(
    ground_truth: Mapping[str, Sequence[Annotation]],
    detections: Mapping[str, Sequence[Annotation]],
    classes: Sequence[str],
) -> Evaluation:
    """Annotations and scored detections by frame. A frame that `detections` lacks has none; one it adds is an error."""
    frames = sorted(ground_truth)
    unknown = sorted(set(detections) - set(frames))
    if unknown:
        raise ResultError(f"detections of frame {unknown[0]}: it has no ground truth; evaluate frames that have labels")
    return evaluate_columns(
        from_labels(ground_truth, frames, scored=False), from_labels(detections, frames, scored=True), classes
    )


def evaluate_columns(
    ground_truth: Columns,
    detections: Columns,
    classes: Sequence[str],
    coco: str = DEFAULT_COCO,
    speed: Mapping[str, float] | None = None,
) -> Evaluation:
    """Both ways into evaluate.py, and the validation of a training run, end here."""
    evaluate_coco, masked = COCO_EVALUATORS[coco], with_masks(ground_truth, detections)
    return Evaluation(
        images=len(ground_truth.frames),
        classes=tuple(classes),
        kitti=evaluate_kitti(ground_truth, detections, classes),
        coco=evaluate_coco(ground_truth, detections, classes),
        speed=dict(speed or {}),
        masks=evaluate_coco(masked, detections, classes, "segm") if masked else None,
    )


def _coco_table(numbers: CocoNumbers, title: str) -> str:
    stats = numbers.stats
    lines = [title, f"{'':<16}{'AP .50:.95':>11}{'AP50':>8}{'objects':>10}"]
    for name, own in numbers.per_class.items():
        lines.append(f"{name:<16}{_fraction(own['AP']):>11}{_fraction(own['AP50']):>8}{own['n_gt']:>10}")
    total = sum(int(own["n_gt"]) for own in numbers.per_class.values())
    lines.append(f"{'mean (mAP50)':<16}{_fraction(stats['AP']):>11}{_fraction(numbers.mAP50):>8}{total:>10}")
    for kind, names in (
        ("AP", ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")),
        ("AR", ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")),
    ):
        short = (".50:.95" if name == "AP" else name.removeprefix(f"{kind}_") for name in names)
        cells = (f"{label} {_fraction(stats[name])}" for label, name in zip(short, names, strict=True))
        lines.append(f"{kind:<3}" + "  ".join(cells))
    return "\n".join(lines)


def _percent(value: float, n_gt: int) -> str:
    return f"{value:.2f}" if n_gt else "-"


def _fraction(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"
