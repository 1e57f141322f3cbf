"""A folder that shows what to improve: index.html, which opens from disk without a network, and its pictures as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from detector.evaluation import charts
from detector.evaluation.coco_ap import CocoNumbers
from detector.evaluation.columns import Columns
from detector.evaluation.crops import Case, ImageOf, costly_false_positives, costly_misses
from detector.evaluation.errors import best_score, confusion, diagnose, gains
from detector.evaluation.evaluator import Evaluation
from detector.evaluation.kitti_ap import evaluate_class
from system.charts import draw
from system.files import write_bytes
from system.page import cards, contact_sheet, encode, figure, gallery, page, table, themed

CASES = 24  # pictures of each kind
KITTI_HEADING = """\
<h3>KITTI 2D AP in percent, by the protocol of the official devkit: IoU above .7 for Car, .5 for the others</h3>
"""
BODY = Path(__file__).with_name("report.html")


def write_report(
    folder: Path, evaluation: Evaluation, ground_truth: Columns, detections: Columns, image_of: ImageOf
) -> Path:
    """Fills `folder` and returns its index.html. `image_of(frame)` is the frame's image file, None if there is none."""
    classes = evaluation.classes
    every_score = diagnose(ground_truth, detections, classes)
    score = best_score(every_score)
    diagnosis = every_score.above(score)
    counts = diagnosis.counts()
    curves = {name: evaluation.kitti.get(name) or evaluate_class(ground_truth, detections, name) for name in classes}
    drawings = {
        "precision_recall": charts.precision_recall(curves),
        "errors": charts.error_split(counts, gains(ground_truth, every_score, classes)),
        "confusion": charts.confusion_matrix(confusion(diagnosis), classes),
        "ap_by_height": charts.ap_by_height(every_score, tuple(evaluation.kitti) or classes),
        "ap_by_occlusion": charts.ap_by_occlusion(every_score, tuple(evaluation.kitti) or classes),
        "scores": charts.score_histograms(every_score, classes, score),
    }
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name, drawing in drawings.items():
        by_theme = draw(drawing)
        write_bytes(folder / f"{name}.png", by_theme["light"])
        figures[name] = themed(by_theme, name.replace("_", " "))
    misses = costly_misses(diagnosis, image_of, CASES)
    false_positives = costly_false_positives(diagnosis, image_of, CASES)
    for name, cases in (("misses", misses), ("false_positives", false_positives)):
        pictures = [case.picture for case in cases if case.picture is not None]
        if pictures:
            write_bytes(folder / f"{name}.png", encode(contact_sheet(pictures), ".png"))
    title = "KITTI evaluation" if evaluation.kitti else "Evaluation"
    body = Template(BODY.read_text(encoding="utf-8")).substitute(
        figures,
        title=title,
        images=evaluation.images,
        cards=_cards(evaluation),
        kitti_table=_kitti_table(evaluation),
        coco_table=_coco_tables(evaluation),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in evaluation.notes()),
        score=f"{score:.3g}",
        missed=counts["missed"],
        wrong=sum(counts.values()) - counts["missed"],
        misses=_gallery(misses, "Nothing was missed."),
        false_positives=_gallery(false_positives, "Nothing was wrong."),
    )
    write_bytes(folder / "index.html", page(f"{title}, {evaluation.images} images", body))
    return folder / "index.html"


def _cards(evaluation: Evaluation) -> str:
    moderate = [curves["moderate"].AP40 for curves in evaluation.kitti.values() if curves["moderate"].n_gt]
    shown = [
        ("KITTI AP40, moderate", f"{np.mean(moderate):.1f} %" if moderate else "–", "mean of the classes below"),
        ("COCO mAP50", f"{evaluation.mAP50:.3f}", "classes that have objects"),
        ("COCO AP", _fraction(evaluation.coco.stats["AP"]), "IoU .50 to .95"),
    ]
    if evaluation.speed:
        stages = (evaluation.speed[f"{stage}_ms"] for stage in ("preprocess", "network", "postprocess"))
        under = " + ".join(f"{stage:.1f}" for stage in stages) + " ms: pre-process, network, post-process"
        shown.append(("Speed", f"{evaluation.speed['images_per_s']:.1f} images/s", under))
    return cards(shown)


def _kitti_table(evaluation: Evaluation) -> str:
    """With its heading; nothing where the data is not KITTI's."""
    if not evaluation.kitti:
        return ""
    rows = []
    for name, curves in evaluation.kitti.items():
        cells = [f"{curve.AP40:.2f}" if curve.n_gt else "–" for curve in curves.values()]
        cells += [f"{curve.AP11:.2f}" if curve.n_gt else "–" for curve in curves.values()]
        rows.append((name, *cells, *(str(curve.n_gt) for curve in curves.values())))
    groups = "<tr><th></th>" + "".join(f"<th colspan=3>{group}</th>" for group in ("AP40", "AP11", "objects")) + "</tr>"
    return KITTI_HEADING + table(("", *("easy", "moderate", "hard") * 3), rows, groups)


def _coco_tables(evaluation: Evaluation) -> str:
    """Of boxes, and of masks where there are any."""
    boxes = _coco_table(evaluation.coco)
    return boxes if evaluation.masks is None else f"{boxes}<h3>The same of masks</h3>{_coco_table(evaluation.masks)}"


def _coco_table(numbers: CocoNumbers) -> str:
    rows = [
        (name, _fraction(own["AP"]), _fraction(own["AP50"]), str(own["n_gt"]))
        for name, own in numbers.per_class.items()
    ]
    classes = table(("", "AP", "AP50", "objects"), rows)
    return classes + table(("", "all classes"), [(name, _fraction(value)) for name, value in numbers.stats.items()])


def _fraction(value: float) -> str:
    return "–" if value < 0 else f"{value:.3f}"


def _gallery(cases: Sequence[Case], nothing: str) -> str:
    sides = [", ".join(f"{side:.0f}" for side in case.box) for case in cases]
    figures = [
        figure(case.picture, case.text, f"frame {case.frame}", f"box {box}")
        for case, box in zip(cases, sides, strict=True)
    ]
    return gallery(figures, nothing)
