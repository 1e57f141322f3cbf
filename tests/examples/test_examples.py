"""The examples run as they stand, on generated data; the notebook in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from foreign import coco, roboflow
from pycocotools.coco import COCO

from data.scenes.write import make_clip
from detector import Detections
from detector.video.frames import Frame
from examples import count_cars as counting
from examples.look_in_fiftyone import write_detections

ROOT = Path(__file__).parents[2]


class Passing:
    """Three cars drive to the right and one to the left; all but one of them across the middle."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def video(self, _: str):
        lanes = [(20, 5, 10), (60, 5, 60), (100, 1, 110), (300, -5, 160)]
        for index in range(50):
            left = [start + speed * index for start, speed, _ in lanes]
            boxes = [[x, lane, x + 40, lane + 30] for x, (_, _, lane) in zip(left, lanes, strict=True)]
            found = Detections(np.array(boxes, np.float32), np.full(4, 0.9, np.float32), np.zeros(4, int), ("Car",))
            yield Frame("a", "a", "video", index, index / 10, np.zeros((200, 400, 3), np.uint8)), found


def test_cars_across_a_line_are_counted_by_their_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "Detector", Passing)
    assert sorted(counting.count_cars("a.mp4", "any")) == [1, 2]
    assert counting.count_cars("a.mp4", "any", [0, 195, 400, 195]) == (0, 0)


@pytest.mark.slow
def test_the_counter_runs(tmp_path: Path) -> None:
    make_clip(tmp_path / "drive.mp4", frames=3, progress=False)
    words = [sys.executable, "-m", "examples.count_cars", str(tmp_path / "drive.mp4")]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"cars in: \d+, out: \d+\n", said)


def test_the_detections_for_fiftyone_are_cocos(tmp_path: Path) -> None:
    root = coco(tmp_path / "set")
    labels = root / "annotations/instances_val2017.json"
    categories = write_detections(root / "val2017", labels, "kitti-light", tmp_path / "found.json")
    assert {"id": 1, "name": "Car"} in categories
    rows = json.loads((tmp_path / "found.json").read_text())
    images = {image["id"] for image in json.loads(labels.read_text())["images"]}
    assert {row["image_id"] for row in rows} <= images
    if rows:
        COCO(str(labels)).loadRes(rows)


@pytest.mark.slow
def test_a_yolo_set_is_trained_on(tmp_path: Path) -> None:
    root = roboflow(tmp_path / "set", train=8, vary=12)
    small = ["phases=[{size: 64, epochs: 1, batch_size: 4}]", "optimizer.warmup_epochs=0", "data.workers=0"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    for name in ("configs", "train.py", "evaluate.py", "detect.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    place = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["sh", str(ROOT / "examples/finetune_yolo.sh"), str(root), *small]
    subprocess.run(words, cwd=tmp_path, env=place, check=True, capture_output=True)
    assert len(list((tmp_path / "runs/from-yolo/found/image").rglob("*.jpg"))) == 11


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads((ROOT / "examples/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "saved with outputs: clear them"
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    numbers = "FRAMES, EPOCHS, SIZE = 200, 10, [160, 512]"
    assert numbers in code
    (tmp_path / "tour.py").write_text(code.replace(numbers, "FRAMES, EPOCHS, SIZE = 10, 1, 64"), encoding="utf-8")
    subprocess.run([sys.executable, tmp_path / "tour.py"], cwd=ROOT, check=True, capture_output=True)
