"""A folder that shows what to improve: index.html, which opens from disk without a network, and its pictures as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from classifier.evaluation.evaluation import Evaluation
from classifier.evaluation.verdicts import Verdicts
from data.images import ImageError
from data.pictures import Pictures
from data.resize import fit, resize
from system.charts import Drawing, Theme, draw, new_panels, shaded_counts
from system.files import write_bytes
from system.page import cards, contact_sheet, encode, figure, gallery, page, table, themed

CASES = 24  # pictures of mistakes
SIZE = (300, 400)  # height, width of one
MATRIX = 20  # classes that a matrix has room for
CONFUSIONS = 30
BODY = Path(__file__).with_name("report.html")


def write_report(folder: Path, evaluation: Evaluation, pictures: Pictures) -> Path:
    """Fills `folder` and returns its index.html."""
    verdicts, classes = evaluation.verdicts, evaluation.classes
    shown = most_confused(verdicts, len(classes))
    counts = verdicts.confusion(len(classes))[np.ix_(shown, shown)]
    drawings = {
        "confusion": _confusion(counts, [evaluation.title(classes[label]) for label in shown]),
        "sureness": _sureness(verdicts),
    }
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name, drawing in drawings.items():
        by_theme = draw(drawing)
        write_bytes(folder / f"{name}.png", by_theme["light"])
        figures[name] = themed(by_theme, name)
    mistakes = worst_mistakes(verdicts)
    images = [_picture(pictures, row) for row in mistakes]
    seen = [image for image in images if image is not None]
    if seen:
        write_bytes(folder / "mistakes.png", encode(contact_sheet(seen), ".png"))
    body = Template(BODY.read_text(encoding="utf-8")).substitute(
        figures,
        images=f"{len(verdicts):,}",
        classes=len(classes),
        cards=_cards(evaluation),
        class_table=_class_table(evaluation),
        most_confused="" if len(shown) == len(classes) else f" Shown are the {MATRIX} classes most often confused.",
        confusion_table=_confusion_table(evaluation),
        wrong=f"{int((verdicts.said != verdicts.labels).sum()):,}",
        mistakes=gallery(
            [_mistake(evaluation, pictures, row, image) for row, image in zip(mistakes, images, strict=True)],
            "Nothing was wrong.",
        ),
    )
    write_bytes(folder / "index.html", page(f"Evaluation of a classifier, {len(verdicts):,} pictures", body))
    return folder / "index.html"


def most_confused(verdicts: Verdicts, classes: int) -> NDArray[np.int64]:
    """The classes with the most mistakes in and out, at most as many as a matrix shows, in their own order."""
    counts = verdicts.confusion(classes)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-(counts.sum(0) + counts.sum(1)), kind="stable")[:MATRIX]
    return np.sort(worst)


def worst_mistakes(verdicts: Verdicts) -> list[int]:
    """Rows of the wrong pictures of which the network is surest."""
    wrong = np.flatnonzero(verdicts.said != verdicts.labels)
    worst: list[int] = wrong[np.argsort(-verdicts.sure[wrong], kind="stable")][:CASES].tolist()
    return worst


def _cards(evaluation: Evaluation) -> str:
    verdicts = evaluation.verdicts
    return cards(
        [
            ("Top-1", f"{verdicts.top(1):.2f} %", "the likeliest class is the right one"),
            ("Top-5", f"{verdicts.top(5):.2f} %", "the right one is among the five likeliest"),
            ("Loss", f"{verdicts.loss:.3f}", "cross-entropy"),
            ("Speed", f"{evaluation.images_per_s:.0f} images/s", "from files to verdicts"),
        ]
    )


def _class_table(evaluation: Evaluation) -> str:
    rows = sorted(evaluation.by_class(), key=lambda row: row.top1)
    cells = [(evaluation.title(row.name), str(row.images), f"{row.top1:.2f}", f"{row.top5:.2f}") for row in rows]
    return table(("", "pictures", "top-1", "top-5"), cells)


def _confusion_table(evaluation: Evaluation) -> str:
    title = evaluation.title
    rows = [(title(row.true), title(row.said), str(row.images)) for row in evaluation.confusions()[:CONFUSIONS]]
    return table(("true class", "named", "pictures"), rows) if rows else "<p>Nothing was wrong.</p>"


def _confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Drawing:
    def drawing(theme: Theme) -> Figure:
        made, axes = shaded_counts(theme, counts, rows=names, columns=names)
        axes.set(xlabel="named", ylabel="true class")
        return made

    return drawing


def _sureness(verdicts: Verdicts) -> Drawing:
    def drawing(theme: Theme) -> Figure:
        made, (axes,) = new_panels(theme, 1, height=3.0)
        is_right = verdicts.said == verdicts.labels
        bins = np.linspace(0, 1, 41).tolist()
        for chosen, name, colour in ((is_right, "right", theme.right), (~is_right, "wrong", theme.wrong)):
            axes.hist(verdicts.sure[chosen], bins, color=colour, alpha=0.75, label=f"{name} ({int(chosen.sum())})")
        axes.set(xlabel="probability of the class that is named", ylabel="pictures", xlim=(0, 1))
        axes.set_yscale("symlog", linthresh=1)
        axes.minorticks_off()
        axes.legend(loc="upper left")
        return made

    return drawing


def _mistake(evaluation: Evaluation, pictures: Pictures, row: int, image: np.ndarray | None) -> str:
    verdicts = evaluation.verdicts
    said, true = (evaluation.title(evaluation.classes[label[row]]) for label in (verdicts.said, verdicts.labels))
    text = f"{said} {verdicts.sure[row]:.2f}: is {true}"
    return figure(image, text, pictures.name(row), "cannot be read")


def _picture(pictures: Pictures, row: int) -> np.ndarray | None:
    """Letterboxed to the size of the gallery."""
    try:
        image = pictures.read(row)
    except (ImageError, OSError):
        return None
    while image.shape[0] * 2 <= SIZE[0] and image.shape[1] * 2 <= SIZE[1]:  # small ones stay what they are, in squares
        image = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return resize(image, fit(image.shape[:2], SIZE, "letterbox"))
