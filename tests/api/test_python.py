"""The detector from Python: every way in gives what the predictor gives, every way out is another program's."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from patches import CLASSES, patches
from PIL import Image
from pycocotools.coco import COCO

from data.formats.kitti import read_labels
from detector import Detection, Detections, Detector
from detector.api import detector as face
from detector.inference.ahead import in_order
from detector.inference.drawing import draw
from detector.inference.predictor import Predictor
from detector.video.frames import Frame, SourceError
from detector.video.journal import Journal
from tests.faults.servers import drip, headers, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def detector(weights: Path) -> Detector:
    return Detector(weights, device="cpu", precision="fp32", threads=1)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_import_takes_no_torch() -> None:
    code = "import detector, sys; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_torch_waits_until_it_is_known_that_there_is_something_to_do() -> None:
    modules = "train, compare, evaluate, detect, detector.api.detector, detector.export.__main__"
    wrong = """
for door, *words in (
    (train, "kiti"),
    (train, "kitti", "optimizer.rate=1"),
    (train, "cifar10", "optimizer.lr=fast"),
    (compare, "compare-kiti"),
    (compare, "compare-kitti", "optimizer.rate=1"),
    (compare, "compare-kitti", "--only", "see"),
):
    sys.argv = ["door.py", *words]
    assert door.main() == 2, words
sys.exit("torch" in sys.modules)"""
    ended = subprocess.run([sys.executable, "-c", f"import sys, {modules}{wrong}"], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr


def test_every_form_of_a_picture_gives_what_the_predictor_finds(
    detector: Detector, weights: Path, street: Path
) -> None:
    expected = Predictor(weights, "cpu", "fp32", threads=1).predict(patches(0))
    assert len(expected) > 3
    with served(street.parent) as address:
        forms = [street, str(street), patches(0), Image.open(street), f"{address}/street.png"]
        found = [detector(form) for form in forms]
    for one in found:
        np.testing.assert_array_equal(one.boxes, expected.boxes)
        np.testing.assert_array_equal(one.scores, expected.scores)
        np.testing.assert_array_equal(one.image, patches(0))
    assert found[0].names == [CLASSES[label] for label in expected.labels]


def test_a_photograph_is_turned_upright_whether_it_is_a_path_or_a_pil_image(detector: Detector, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(patches(1)).save(tmp_path / "phone.png", exif=exif)
    for form in (tmp_path / "phone.png", Image.open(tmp_path / "phone.png")):
        np.testing.assert_array_equal(detector(form).image, np.rot90(patches(1), -1))
    grey = Image.fromarray(patches(1)).convert("L")
    assert detector(grey).image.shape == (60, 100, 3)


def test_a_list_is_a_list_of_what_each_gives_alone(detector: Detector, street: Path) -> None:
    pictures = [patches(seed, 60 + seed, 100) for seed in range(10)]
    for one, picture in zip(detector(pictures), pictures, strict=True):
        alone = detector(picture)
        assert one.names == alone.names and one.image is picture
        np.testing.assert_allclose(one.boxes, alone.boxes, atol=1e-3)
    assert detector([]) == []


def test_confidence_and_classes_choose(weights: Path) -> None:
    everything = Detector(weights, device="cpu", precision="fp32", conf=0.3)(patches(0))
    chosen = Detector(weights, device="cpu", precision="fp32", conf={"Car": 0.4, "Pedestrian": 0.3})(patches(0))
    assert 0 < len(chosen["Car"]) < len(everything["Car"]) and chosen["Car"].scores.min() > 0.4
    np.testing.assert_array_equal(chosen["Pedestrian"].boxes, everything["Pedestrian"].boxes)
    only = Detector(weights, device="cpu", precision="fp32", conf=0.3, classes=["Pedestrian"])(patches(0))
    np.testing.assert_array_equal(only.boxes, everything["Pedestrian"].boxes)
    assert set(only.names) == {"Pedestrian"} and only.classes == CLASSES


FOUND = Detections(
    np.array([[10, 20, 40, 60], [1, 2, 30.256, 50], [5, 5, 9, 9]], np.float32),
    np.array([0.9, 0.6, 0.3], np.float32),
    np.array([0, 1, 0]),
    CLASSES,
    patches(2),
)


def test_what_is_found_is_chosen_counted_and_gone_through() -> None:
    assert len(FOUND) == 3 and FOUND.names == ["Car", "Pedestrian", "Car"]
    assert next(iter(FOUND)) == Detection("Car", FOUND.scores[0], (10, 20, 40, 60))
    assert FOUND["Car"].boxes.tolist() == [[10, 20, 40, 60], [5, 5, 9, 9]]
    assert FOUND.above(0.5)["Car"].names == ["Car"] and FOUND["Car"].image is FOUND.image
    with pytest.raises(ValueError, match="unknown class 'car': did you mean 'Car'"):
        FOUND["car"]


def test_it_is_drawn_into_a_copy_and_saved(tmp_path: Path) -> None:
    expected = patches(2)
    draw(expected, FOUND, CLASSES)
    np.testing.assert_array_equal(FOUND.draw(), expected)
    np.testing.assert_array_equal(FOUND.image, patches(2))
    FOUND.save(tmp_path / "drawn.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "drawn.png"))[..., ::-1], expected)
    with pytest.raises(ValueError, match=r"drawn\.xyz.*\.jpg or \.png"):
        FOUND.save(tmp_path / "drawn.xyz")


def test_other_programs_read_it(tmp_path: Path) -> None:
    assert FOUND.to_dict()["detections"][1] == {"class": "Pedestrian", "score": 0.6, "box": [1, 2, 30.256, 50]}
    (tmp_path / "a.txt").write_text(FOUND.to_kitti())
    assert [(label.name, label.box, label.score) for label in read_labels(tmp_path / "a.txt")][1] == (
        *("Pedestrian", (1, 2, 30.26, 50), 0.6),
    )
    truth = COCO()
    truth.dataset = {"images": [{"id": 7}], "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    truth.createIndex()
    (tmp_path / "coco.json").write_text(json.dumps(FOUND.to_coco(7)))
    results = truth.loadRes(str(tmp_path / "coco.json"))
    assert results.loadAnns(results.getAnnIds(catIds=[2]))[0]["bbox"] == [1, 2, 29.26, 48]


def test_supervision_reads_it() -> None:
    supervision = pytest.importorskip("supervision")
    other = FOUND.to_supervision()
    assert isinstance(other, supervision.Detections) and other.xyxy.tolist() == FOUND.boxes.tolist()
    assert other[other.confidence > 0.5]["class_name"].tolist() == ["Car", "Pedestrian"]
    nothing = FOUND.above(1).to_supervision()
    assert len(nothing) == 0 and nothing["class_name"].dtype.kind == "U"


def test_pandas_reads_it() -> None:
    frame = pytest.importorskip("pandas") and FOUND.to_dataframe()
    assert list(frame.columns) == ["class", "score", "x1", "y1", "x2", "y2"]
    assert frame[frame["class"] == "Car"]["x2"].tolist() == [40, 9]
    assert FOUND.above(1).to_dataframe().dtypes.equals(frame.dtypes)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_dataframe\(\) needs pandas: pip install pandas"):
        FOUND.to_dataframe()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.jpg", "nowhere.jpg"),
        ("drive.mp4", "a video; .* detector.video"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]: expected"),
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]: expected"),
        (Image.new("I;16", (4, 4)), "mode I;16"),
        (7, "int is no picture: expected a path"),
        ("http://127.0.0.1:9/a.jpg", "cannot be fetched"),
    ],
)
def test_what_is_no_picture_is_told(detector: Detector, source: object, said: str) -> None:
    with pytest.raises((ValueError, OSError, TypeError), match=said):
        detector(source)  # type: ignore[call-overload]


def test_a_page_that_is_not_there_or_no_picture_is_told(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a page")
    with served(tmp_path) as address:
        with pytest.raises(OSError, match="the server answers 404"):
            detector(f"{address}/b.jpg")
        with pytest.raises(ValueError, match=r"a\.jpg: not an image"):
            detector(f"{address}/a.jpg")


def test_weights_that_are_not_there_are_told() -> None:
    with pytest.raises((ValueError, OSError), match=r"nowhere\.pt: no such"):
        Detector("nowhere.pt")


def test_the_page_runs(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/kitti").mkdir(parents=True)
    (tmp_path / "runs/kitti/best.pt").write_bytes(weights.read_bytes())
    for name in ("street.jpg", "other.png"):
        cv2.imwrite(name, patches(3))
    with av.open("drive.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 60, 100, "yuv420p"
        for seed in range(7):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(patches(seed), format="rgb24")))
        out.mux(stream.encode(None))
    seen: list[tuple[object, ...]] = []
    names = {"print": lambda *words: seen.append(words)}
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(block, names)
    assert Path("found.jpg").stat().st_size and Path("found.png").stat().st_size
    assert [words[:2] for words in seen if words[0] in (0, 5)] == [(0, 0.0), (5, 0.5)]  # frames of the video
    assert CLASSES in [words[0] for words in seen]


@pytest.mark.parametrize("ahead", [1, 3])
def test_frames_before_a_fault_of_the_source_come_first(ahead: int) -> None:
    class Torn:
        source, name, kind = "torn.mp4", "torn", "video"

        def frames(self, journal: Journal, stop: threading.Event) -> Iterator[Frame]:
            for index in range(4):
                yield Frame("torn.mp4", "torn", "video", index, index / 10, patches(index))
            raise SourceError("no more")

    class Counting:
        def start(self, images: list[np.ndarray]) -> Callable[[], list[Detections]]:
            return lambda: [FOUND] * len(images)

    seen = []
    with pytest.raises(SourceError, match=r"^torn\.mp4: no more$"):
        for frame, found in in_order(face._begun(Torn(), Journal(echo=print), Counting()), ahead):  # type: ignore[arg-type]
            assert found.image is frame.image
            seen.append(frame.index)
    assert seen == [0, 1, 2, 3]


def test_a_url_whose_header_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "URL_TIMEOUT_S", 0.3)
    endless = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000
    with serving(lambda client: drip(client, endless)) as url, pytest.raises(OSError, match="cannot be fetched"):
        face.to_rgb(url)


def test_a_url_that_leads_on_with_a_length_that_is_none_is_told() -> None:
    answer = headers("HTTP/1.1 302 Found", "Location: /b.jpg", f"Content-Length: {'9' * 30}")
    with serving(lambda client: client.sendall(answer)) as url, pytest.raises(OSError, match="cannot be fetched"):
        face.to_rgb(url)
