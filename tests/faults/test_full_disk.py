"""A full disk: one line that names the file, and no part of it is left. The disk is a small tmpfs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.config import Config
from detector.export.__main__ import SUFFIX
from detector.inference.card import Card
from detector.inference.trained import Trained
from detector.network.build import build_detector

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"
MOUNT = ["unshare", "--mount", "sh", "-c"]
ON_THE_DISK = 'mount -t tmpfs -o size="$0" tmpfs disk && "$@"; status=$?; cp -r disk left; exit $status'


def on_full_disk(folder: Path, size: str, *words: object) -> tuple[int, str, set[str]]:
    """Status and messages of a command whose folder `disk` is that small, and the files that it has left there."""
    (folder / "disk").mkdir()
    if subprocess.run([*MOUNT, "mount -t tmpfs -o size=64k tmpfs disk"], capture_output=True, cwd=folder).returncode:
        pytest.skip("needs the right to mount a tmpfs of its own")
    command = [*MOUNT, ON_THE_DISK, size, sys.executable, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=folder, env=environment)
    left = {path.relative_to(folder / "left").as_posix() for path in (folder / "left").rglob("*") if path.is_file()}
    return done.returncode, done.stderr, left


@pytest.mark.parametrize(
    ("words", "size", "file"),
    [
        (("--save", "coco"), "12k", "disk/out/coco.json"),
        (("--save", "coco,mot", "--track"), "16k", "disk/out/mot/clip.txt"),
        (("--save", "none", "--crops"), "64k", "disk/out/crops/Car/clip/"),
        (("--save", "video"), "16k", "disk/out/video/clip.mp4"),
    ],
)
def test_detect_names_the_file_that_found_no_room(tmp_path: Path, words: tuple[str, ...], size: str, file: str) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 96))
    for number in range(300):
        image = np.full((96, 160, 3), 40, np.uint8)
        image[40:56, 8 + number % 100 : 32 + number % 100, 2] = 250
        writer.write(image)
    writer.release()
    door = ROOT / "tests/video/fake_door.py"
    status, said, left = on_full_disk(tmp_path, size, door, 0, "clip.avi", "--output", "disk/out", *words)
    assert status == 2 and len(said.splitlines()) == 1, said
    assert said.startswith(f"error: {file}") and "No space left on device" in said
    assert not [name for name in left if Path(name).name.startswith(".") or "crops" not in name], left


def test_openvino_that_finds_no_room_is_told(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    from detector.export.graph import save_openvino, to_openvino, write_card

    card = Card(("Car", "Pedestrian", "Cyclist"), (64, 96), "stretch", "fp32")
    shutil.copy(FILES / "card_classes1.onnx", tmp_path / "good.onnx")
    write_card(tmp_path / "good.onnx", card)
    (tmp_path / "good.bin").symlink_to("/dev/full")  # which refuses every byte
    with pytest.raises(OSError, match="is the disk full") as caught:
        save_openvino(to_openvino(tmp_path / "good.onnx"), card, tmp_path / "good.xml")
    assert caught.value.filename == str(tmp_path / "good.xml")


@pytest.mark.slow
@pytest.mark.parametrize(("to", "room_for"), [("onnx", 0.5), ("onnx", 1.5), ("openvino", 0.5)])
def test_an_export_that_finds_no_room_leaves_the_old_file(tmp_path: Path, to: str, room_for: float) -> None:
    """Room for so many files of the network's size: it ends in the first, or in its copy."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    config = Config().override(["network.width=0.125", "data.classes=kitti3", "phases=[{size: 64}]"])
    trained = Trained(config, ("Car", "Pedestrian", "Cyclist"), build_detector(config.network, 3).state_dict())
    trained.save(tmp_path / "net.pt")
    name = f"net{SUFFIX[to]}"
    size = f"{round(room_for * (tmp_path / 'net.pt').stat().st_size / 1000)}k"
    words = ("-c", WITH_AN_OLD_FILE, f"disk/{name}", "net.pt", "--to", to, "--output", f"disk/{name}", "--threads", 1)
    status, said, left = on_full_disk(tmp_path, size, *words)
    assert status == 2 and len(said.splitlines()) == 1, said
    assert said.startswith(f"error: disk/{name}: ")
    assert left == {name} and (tmp_path / "left" / name).read_text() == "old"


WITH_AN_OLD_FILE = """
import sys
from pathlib import Path
Path(sys.argv.pop(1)).write_text("old")
from detector.export.__main__ import main
sys.exit(main())
"""
