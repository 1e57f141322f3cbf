from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.annotation import Annotation
from data.formats.kitti import CLASSES, Label
from detector.evaluation.charts import precision_recall
from detector.evaluation.columns import from_labels
from detector.evaluation.crops import costly_false_positives, costly_misses
from detector.evaluation.errors import diagnose
from detector.evaluation.evaluator import evaluate_columns
from detector.evaluation.report import write_report
from system.charts import LIGHT, finished

PICTURES = ("precision_recall", "errors", "confusion", "ap_by_height", "ap_by_occlusion", "scores")


class Links(HTMLParser):
    """Every address a browser would load or follow."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "action", "data")]


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (375, 1242, 3), np.uint8))
    return path


def test_the_page_is_self_contained_and_its_pictures_lie_beside_it(small, image, tmp_path):
    columns = small.columns()
    page = write_report(tmp_path / "report", evaluate_columns(*columns, CLASSES), *columns, lambda frame: image)
    text = page.read_text(encoding="utf-8")
    links = Links(text).found
    assert len(links) > 20
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "url(" not in text
    assert "<script" not in text
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)
    for name in (*PICTURES, "misses", "false_positives"):
        assert cv2.imread(str(tmp_path / "report" / f"{name}.png")) is not None
    for link in links:
        if link.startswith("data:"):
            encoded = np.frombuffer(base64.b64decode(link.partition("base64,")[2], validate=True), np.uint8)
            assert cv2.imdecode(encoded, cv2.IMREAD_COLOR) is not None


def test_without_images_the_worst_cases_are_listed_by_their_boxes(small, tmp_path):
    columns = small.columns()
    write_report(tmp_path, evaluate_columns(*columns, CLASSES), *columns, lambda frame: None)
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", *(f"{name}.png" for name in PICTURES)}
    assert (tmp_path / "index.html").read_text().count('class="blank"') > 10


@pytest.mark.parametrize(
    ("objects", "found", "classes"),
    [(0, 0, CLASSES), (1, 0, ("Cyclist",)), (0, 1, ("Cyclist",)), (1, 1, ("Cyclist",)), (1, 1, ("Tram",))],
)
def test_a_report_of_hardly_anything_is_written_too(tmp_path, classes, objects, found):
    box = (100.0, 100.0, 200.0, 180.0)
    truth = from_labels({"0": [Label("Cyclist", box, 0.0, 0)] * objects}, ["0"], scored=False)
    detections = from_labels({"0": [Label("Cyclist", box, score=0.5)] * found}, ["0"], scored=True)
    evaluation = evaluate_columns(truth, detections, classes)
    assert write_report(tmp_path, evaluation, truth, detections, lambda frame: None).is_file()


def test_a_report_of_classes_that_are_not_kittis_does_not_speak_of_kittis_ap(tmp_path):
    box, region = (100.0, 100.0, 200.0, 180.0), (400.0, 100.0, 500.0, 180.0)
    truth = {"0": [Annotation("bus", box), Annotation("traffic light", region, ignore=True)]}
    found = {"0": [Annotation("traffic light", place, score=0.5) for place in (box, region)]}
    columns = from_labels(truth, ["0"], scored=False), from_labels(found, ["0"], scored=True)
    classes = ("bus", "traffic light")
    page = write_report(tmp_path, evaluate_columns(*columns, classes), *columns, lambda frame: None).read_text()
    assert "<h1>Evaluation</h1>" in page
    assert "KITTI 2D AP" not in page
    assert "traffic light 0.50: is a bus" in page
    assert page.count("traffic light 0.50") == 1  # the other lies in a region to ignore


def test_a_chart_is_to_be_had_as_a_figure_too(small):
    evaluation = evaluate_columns(*small.columns(), CLASSES)
    figure = finished(precision_recall(evaluation.kitti))
    assert [axes.get_title() for axes in figure.axes] == ["Car", "Pedestrian", "Cyclist"]
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert figure.axes[0].get_legend().get_texts()[0].get_color() == LIGHT.ink


def test_names_of_files_cannot_become_markup(tmp_path):
    frame = "<img src=x onerror=alert(1)>"
    truth = from_labels({frame: [Label("Car", (100.0, 100.0, 200.0, 180.0), 0.0, 0)]}, [frame], scored=False)
    nothing = from_labels({}, [frame], scored=True)
    page = write_report(tmp_path, evaluate_columns(truth, nothing, ("Car",)), truth, nothing, lambda f: None)
    assert frame not in page.read_text()
    assert "&lt;img src=x" in page.read_text()


def test_the_worst_cases_come_first_with_their_box_in_the_picture(image):
    high, low, far = (100.0, 100.0, 200.0, 300.0), (400.0, 200.0, 460.0, 250.0), (800.0, 150.0, 900.0, 250.0)
    truth = [Label("Car", low, 0.0, 0), Label("Car", high, 0.0, 0), Label("Car", (600.0, 50.0, 700.0, 350.0), 0.0, 2)]
    found = [Label("Tram", far, score=0.6), Label("Misc", (1000.0, 150.0, 1240.0, 370.0), score=0.9)]
    columns = from_labels({"0": truth}, ["0"], scored=False), from_labels({"0": found}, ["0"], scored=True)
    diagnosis = diagnose(*columns, CLASSES)
    misses = costly_misses(diagnosis, lambda frame: image, 2)
    assert [tuple(case.box) for case in misses] == [high, low]  # the occluded one is the least surprising
    wrong = costly_false_positives(diagnosis, lambda frame: image, 5)
    assert [case.text for case in wrong] == ["Misc 0.90: background", "Tram 0.60: background"]
    for case, colour in ((misses[0], (64, 220, 120)), (wrong[0], (255, 90, 60))):
        assert case.picture is not None
        assert case.picture.shape == (300, 400, 3)
        assert (case.picture == np.array(colour)).all(axis=2).sum() > 100


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_a_browser_shows_the_page_from_disk(small, tmp_path):
    columns = small.columns()
    page = write_report(tmp_path / "report", evaluate_columns(*columns, CLASSES), *columns, lambda frame: None)
    shot = tmp_path / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", "--window-size=1200,3000"]
    subprocess.run(["chromium", *options, page.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = cv2.imread(str(shot))
    assert pixels.shape[:2] == (3000, 1200)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500  # charts, not a blank page
