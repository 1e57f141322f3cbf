"""Every reader against random damage: a result, or one short line of ours that names the file.

    python -m tests.faults.fuzz image --tries 20000 --seed 1

A try takes something good, damages it at random and reads it. What is neither a result nor our error is a failure; its
bytes are kept in the folder, so that it can be looked at.
"""

from __future__ import annotations

import argparse
import io
import logging
import random
import re
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from backbones.weight_file import read_weight_file
from data.download import Archive, download
from data.formats.kitti import frames_of_split, read_labels
from data.images import check_image, image_size, read_image
from detector.config import Config
from detector.inference.detections import Detections
from detector.inference.trained import load_trained
from detector.video.session import Options, run
from tests.faults.damage import Try, damage, outcome
from tests.faults.data_sets import DATA_SETS
from tests.faults.graphs import GRAPHS
from tests.faults.servers import transfer
from training.checkpoint import Checkpoint, save_checkpoint
from training.config import ConfigError

LABELS = (
    "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n"
    "Pedestrian 0.10 1 -0.20 712.40 143.00 810.73 307.92 1.89 0.48 1.20 1.84 1.47 8.41 0.01 0.93\n"
)
WORDS = ("nan", "inf", "-1e308", "1e400", "1_0", "²", "0x1", "", "\r", "\x1b[31m", "\0", "9" * 400, "Car", "-", "1,5")


def label(rng: random.Random, folder: Path) -> str:
    path = folder / "000001.txt"
    if rng.random() < 0.5:
        fields = LABELS.split(" ")
        fields[rng.randrange(len(fields))] = rng.choice(WORDS)
        path.write_text(" ".join(fields), encoding="utf-8", newline="")
    else:
        path.write_bytes(damage(LABELS.encode(), rng))
    return outcome(lambda: read_labels(path, scored=rng.random() < 0.1), path.name)


def frames(rng: random.Random, folder: Path) -> str:
    (folder / "ImageSets").mkdir(exist_ok=True)
    path = folder / "ImageSets/train.txt"
    path.write_bytes(damage(b"".join(b"%06d\n" % k for k in range(20)), rng))
    return outcome(lambda: frames_of_split(folder, "train", ()), path.name)


_SETTINGS = """name phases phases.0 phases.0.size phases.0.size_range phases.0.epochs phases.0.batch_size
optimizer optimizer.lr optimizer.kind train train.seed train.threads train.device train.ema data data.root data.classes
data.workers data.cache data.augment data.augment.mosaic data.augment.albumentations network network.arch
network.attention network.width network.anchors loss base task a.b.c phases.7.size phases.² ."""
_VALUES = """1  0  -1  1e-3  .inf  .nan  0x10  ²  18446744073709551616  99999999999999999999  true  null  ~  x  resnet18
kitti3  [1]  []  {}  {a: b}  [[[1]]]  [{size: 64}]  [64, 64]  2001-99-99  !!float  !!binary #  !!python/name:os.system
*a  &a [*a]  &a  "a\\0b"  "\\e[31m"  "a\\nb"  '  {  [  :  -  ?  |  >  %  @  `  #  " """
SETTINGS, VALUES = _SETTINGS.split(), re.split("  |\n", _VALUES)


def override(rng: random.Random, folder: Path) -> str:
    words = []
    for _ in range(rng.randint(1, 4)):
        value = "".join(rng.choice(VALUES) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        word = f"{rng.choice(SETTINGS)}={value}"
        words.append(damage(word.encode(), rng).decode(errors="replace") if rng.random() < 0.2 else word)
    path = folder / "good.yaml"
    path.write_text("name: good\n")

    def read() -> None:
        try:
            Config.load(path, words)
        except ConfigError as error:  # it names the file, or the word
            raise ConfigError(f"{path}: {error}") from None

    return outcome(read, path.name)


def config(rng: random.Random, folder: Path) -> str:
    path = folder / "bad.yaml"
    good = "name: good\ndata: {root: x, classes: [Car, Van]}\nphases:\n- {size: 64, epochs: 1}\n- {size: [64, 96]}\n"
    path.write_bytes(damage(good.encode(), rng))
    return outcome(lambda: Config.load(path), path.name)


def image(rng: random.Random, folder: Path) -> str:
    suffix = rng.choice((".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm"))
    path = folder / f"000001{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    path.write_bytes(damage(cv2.imencode(suffix, pixels)[1].tobytes(), rng))
    results = {outcome(lambda read=read: read(path), path.name) for read in (read_image, check_image, image_size)}
    return max(results)


def weights(rng: random.Random, folder: Path) -> str:
    path = folder / "best.pt"
    if not path.exists():
        tensors = {f"backbone.layer{k}": torch.arange(300.0) + k for k in range(3)}
        about = {"classes": ["Car"]}
        save_checkpoint(path, Checkpoint("detection", Config().plain(), tensors, about))
    good, bad = path.read_bytes(), folder / "bad.pt"
    bad.write_bytes(damage(good, rng))
    result = outcome(lambda: load_trained(bad), bad.name)
    if result == "read":  # then nothing that counts has changed
        before, after = load_trained(path), load_trained(bad)
        assert before.config == after.config and before.classes == after.classes
        assert all(torch.equal(value, after.weights[name]) for name, value in before.weights.items())
    return result


def content(rng: random.Random, folder: Path) -> str:
    """A whole file, in which values are others than they should be."""
    path = folder / "odd.pt"
    saved: dict[str, Any] = {
        "format": "kitti-attention-detector/1", "task": "detection", "config": Config().plain(), "classes": ["Car"],
        "versions": {}, "metrics": {}, "model": {"a": torch.zeros(2)}, "training": {},
    }  # fmt: skip
    place: Any = saved
    while isinstance(place, dict) and place:
        key = rng.choice(list(place))
        if rng.random() < 0.4 or not isinstance(place[key], dict) or not place[key]:
            place[key] = rng.choice(
                (None, 7, -1.5, "x", "\x1b", [], [[1]], {}, {"a": 1}, torch.zeros(2), float("nan"), 1e9)
            )
            break
        place = place[key]
    torch.save(saved, path)
    return outcome(lambda: load_trained(path), path.name)


def pickled(rng: random.Random, folder: Path) -> str:
    path = folder / "old.pt"
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(damage(buffer.getvalue(), rng))
    return outcome(lambda: read_weight_file(path), path.name)


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def archive(rng: random.Random, folder: Path) -> str:
    """As after its transfer. When it is damaged it is gone, so that the same command fetches it again."""
    root = folder / f"root{rng.randrange(10**9)}"
    root.mkdir()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice(METHODS)) as packed:
        for k in range(5):
            packed.writestr(f"training/label_2/{k:06d}.txt", LABELS * (k + 1))
        packed.writestr("README.md", "hello")
    whole = root / "labels.zip.unpacking"
    whole.write_bytes(damage(buffer.getvalue(), rng) if rng.random() < 0.7 else flipped_in_directory(buffer, rng))
    wanted = Archive("labels.zip", "training/label_2", 5, 0)
    result = outcome(lambda: download(root, (wanted,), "http://127.0.0.1:9/"), "labels.zip")
    assert not whole.exists(), "it is still there, and would be met again"
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert all(name.startswith(("training/", "testing/")) for name in found), found
    return result


def flipped_in_directory(buffer: io.BytesIO, rng: random.Random) -> bytes:
    data = bytearray(buffer.getvalue())
    start = data.index(b"PK\x01\x02")
    data[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


class Silent:
    """A detector that finds nothing."""

    classes = ("Car",)
    timings = dict.fromkeys(("preprocess", "network", "postprocess", "images"), 0.0)
    ahead = 1

    def start(self, images: list[np.ndarray]) -> Callable[[], list[Detections]]:
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        return lambda: [Detections(*nothing) for _ in images]


FORMS = ((".mp4", "mpeg4"), (".avi", "mjpeg"), (".mkv", "libx264"), (".mov", "png"), (".ts", "mpeg2video"))


def video(rng: random.Random, folder: Path) -> str:
    """Through all of detect.py but the network: status 0, or 1 or 2 and a line that names the file."""
    suffix, codec = rng.choice(FORMS)
    good = folder / f"good{suffix}"
    if not good.exists():
        with av.open(str(good), "w") as out:
            stream = out.add_stream(codec, rate=10)
            stream.width, stream.height = 48, 32
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
            for k in range(6):
                picture = np.full((32, 48, 3), 30 * k, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format=stream.pix_fmt)))
            out.mux(stream.encode(None))
    bad = folder / f"bad{suffix}"
    bad.write_bytes(damage(good.read_bytes(), rng))
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        options = Options((str(bad),), folder / "out", saves=())
        try:
            status = run(options, lambda ahead: (Silent(), 1), threading.Event())
        except ValueError as error:  # the only source, and told before a network is loaded
            assert str(error).startswith(f"{bad}: "), error
            return "refused"
    assert status == 0 or f"skipped: {bad}: " in said.getvalue(), said.getvalue()
    return f"status {status}" + (", warned" if "warning: " in said.getvalue() else "")


READERS: dict[str, Try] = {
    read.__name__: read
    for read in (label, frames, override, config, image, weights, content, pickled, archive, video)
} | DATA_SETS | GRAPHS | {"transfer": transfer}  # fmt: skip


def fuzz(name: str, tries: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """How often what came of it, and what failed: each says the try to repeat."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    with quiet():
        for number in range(tries):
            try:
                outcomes[READERS[name](random.Random(f"{name} {seed} {number}"), folder)] += 1
            except Exception as fault:
                where = f"{name}: try {number} of seed {seed}, files in {folder}"
                failures.append(f"{where}: {type(fault).__name__}: {str(fault)[:500]}")
    return outcomes, failures


@contextmanager
def quiet() -> Iterator[None]:
    """OpenCV and warnings tell of damage too; nobody needs that here."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        cv2.utils.logging.setLogLevel(level)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", choices=[[], *READERS], help="which (default: all)")
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failed = 0
    for name in args.readers or READERS:
        found, failures = fuzz(name, args.tries, args.seed, Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-")))
        print(f"{name:9} {args.tries} tries: " + ", ".join(f"{kind} {n}" for kind, n in found.most_common()))
        print(*(f"FAILED {failure}" for failure in failures), sep="\n", end="")
        failed += len(failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
