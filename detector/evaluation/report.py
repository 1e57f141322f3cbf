"""A folder that shows what to improve: index.html, which opens from disk without a network, and its pictures as PNG."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from detector.evaluation import charts
from detector.evaluation.columns import Columns
from detector.evaluation.crops import Case, ImageOf, costly_false_positives, costly_misses
from detector.evaluation.errors import best_score, confusion, diagnose, gains
from detector.evaluation.evaluator import Evaluation
from detector.evaluation.kitti_ap import evaluate_class
from system.files import write_bytes

CASES = 24  # pictures of each kind
KITTI_HEADING = """\
<h3>KITTI 2D AP in percent, by the protocol of the official devkit: IoU above .7 for Car, .5 for the others</h3>
"""
PAGE = Path(__file__).with_name("report.html")


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
        pictures = charts.draw(drawing)
        write_bytes(folder / f"{name}.png", pictures["light"])
        figures[name] = _themed(pictures, name.replace("_", " "))
    misses = costly_misses(diagnosis, image_of, CASES)
    false_positives = costly_false_positives(diagnosis, image_of, CASES)
    for name, cases in (("misses", misses), ("false_positives", false_positives)):
        if any(case.picture is not None for case in cases):
            write_bytes(folder / f"{name}.png", _encode(_contact_sheet(cases), ".png"))
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        figures,
        title="KITTI evaluation" if evaluation.kitti else "Evaluation",
        images=evaluation.images,
        cards=_cards(evaluation),
        kitti_table=_kitti_table(evaluation),
        coco_table=_coco_table(evaluation),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in evaluation.notes()),
        score=f"{score:.3g}",
        missed=counts["missed"],
        wrong=sum(counts.values()) - counts["missed"],
        misses=_gallery(misses, "Nothing was missed."),
        false_positives=_gallery(false_positives, "Nothing was wrong."),
    )
    write_bytes(folder / "index.html", page.encode())
    return folder / "index.html"


def _cards(evaluation: Evaluation) -> str:
    moderate = [curves["moderate"].AP40 for curves in evaluation.kitti.values() if curves["moderate"].n_gt]
    cards = [
        ("KITTI AP40, moderate", f"{np.mean(moderate):.1f} %" if moderate else "–", "mean of the classes below"),
        ("COCO mAP50", f"{evaluation.mAP50:.3f}", "classes that have objects"),
        ("COCO AP", _fraction(evaluation.coco.stats["AP"]), "IoU .50 to .95"),
    ]
    if evaluation.speed:
        stages = (evaluation.speed[f"{stage}_ms"] for stage in ("preprocess", "network", "postprocess"))
        under = " + ".join(f"{stage:.1f}" for stage in stages) + " ms: pre-process, network, post-process"
        cards.append(("Speed", f"{evaluation.speed['images_per_s']:.1f} images/s", under))
    return "".join(
        f'<div class="card"><span>{escape(title)}</span><strong>{escape(value)}</strong>'
        f"<span>{escape(under)}</span></div>"
        for title, value, under in cards
    )


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
    return KITTI_HEADING + _table(groups, ("", *("easy", "moderate", "hard") * 3), rows)


def _coco_table(evaluation: Evaluation) -> str:
    stats = evaluation.coco.stats
    rows = [
        (name, _fraction(numbers["AP"]), _fraction(numbers["AP50"]), str(numbers["n_gt"]))
        for name, numbers in evaluation.coco.per_class.items()
    ]
    classes = _table("", ("", "AP", "AP50", "objects"), rows)
    return classes + _table("", ("", "all classes"), [(name, _fraction(value)) for name, value in stats.items()])


def _table(above: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in head) + "</tr>"
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) for row in rows)
    body = "".join(f"<tr><th>{escape(row[0])}</th>{line}</tr>" for row, line in zip(rows, cells, strict=True))
    return f'<div class="scroll"><table><thead>{above}{titles}</thead><tbody>{body}</tbody></table></div>'


def _fraction(value: float) -> str:
    return "–" if value < 0 else f"{value:.3f}"


def _gallery(cases: Sequence[Case], nothing: str) -> str:
    if not cases:
        return f"<p>{nothing}</p>"
    figures = []
    for case in cases:
        where = "<br>".join((escape(case.text), f"<small>frame {escape(case.frame)}</small>"))
        if case.picture is None:
            picture = f'<div class="blank">box {", ".join(f"{side:.0f}" for side in case.box)}</div>'
        else:
            source = _data_uri(_encode(case.picture, ".jpg"), "jpeg")
            picture = f'<img loading="lazy" alt="{escape(case.text)}" src="{source}">'
        figures.append(f"<figure>{picture}<figcaption>{where}</figcaption></figure>")
    return f'<div class="gallery">{"".join(figures)}</div>'


def _contact_sheet(cases: Sequence[Case], columns: int = 4, gap: int = 8) -> np.ndarray:
    pictures = [case.picture for case in cases if case.picture is not None]
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def _themed(pictures: dict[str, bytes], alt: str) -> str:
    """The picture for the reader's colour scheme, both inside the page."""
    dark, light = (_data_uri(pictures[theme], "png") for theme in ("dark", "light"))
    return (
        f'<div class="scroll"><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(alt)}" src="{light}"></picture></div>'
    )


def _encode(picture: np.ndarray, suffix: str) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if suffix == ".jpg" else []
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
