"""How long scoring takes: KITTI AP and the COCO numbers of 3,769 frames, and what more frames cost.

    python -m benchmarks.evaluation [--rounds 5] [--frames 3769] [--most 40000]

Every figure is the median of the rounds; what is compared takes turns within a round. The frames are made up: about
eight objects and DontCare regions each, and detections of them among false ones. Processes are fresh interpreters.
Peak memory is read from /proc, so the second table needs Linux.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.formats.kitti import CLASSES
from detector.evaluation import coco_ap, coco_arrays
from detector.evaluation.columns import Columns
from detector.evaluation.kitti_ap import MIN_OVERLAP, evaluate_class
from detector.evaluation.kitti_files import frames_of, read_folder

REPOSITORY = Path(__file__).resolve().parents[1]
SHARES = (0.55, 0.08, 0.05, 0.14, 0.02, 0.1, 0.03, 0.03)  # of CLASSES
ASPECTS = dict(zip(CLASSES, (1.6, 1.4, 1.3, 0.4, 0.7, 0.8, 2.0, 1.2), strict=True))
KITTI_ALONE = """
import sys
from detector.evaluation.kitti_files import frames_of, read_folder
from detector.evaluation.kitti_ap import MIN_OVERLAP, evaluate_class
labels, results = sys.argv[1:3]
frames = frames_of(labels)
columns = read_folder(labels, frames, scored=False), read_folder(results, frames, scored=True)
for name in MIN_OVERLAP:
    evaluate_class(*columns, name)
"""
PEAK = (
    KITTI_ALONE
    + """
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
)


def make_set(folder: Path, frames: int, per_frame: float, seed: int = 1) -> tuple[Path, Path]:
    """Label and result folders of made-up frames with `per_frame` detections each on average."""
    rng = np.random.default_rng(seed)
    labels, results = folder / "label_2", folder / "results"
    for path in (labels, results):
        path.mkdir(parents=True)
    near_objects = min(0.6 * per_frame, 13.0)  # a detector gives a second box to most objects, not a seventh
    for frame in range(frames):
        names = rng.choice(CLASSES, rng.poisson(6.5), p=SHARES).tolist()
        objects = [(name, _box(rng, name)) for name in names]
        regions = [("DontCare", _box(rng, "Car")) for _ in range(rng.poisson(1.5))]
        found = []
        for _ in range(rng.poisson(near_objects) if objects else 0):
            name, (x1, y1, x2, y2) = objects[int(rng.integers(len(objects)))]
            error = rng.normal(0, 0.06, 4) * np.array((x2 - x1, y2 - y1, x2 - x1, y2 - y1))
            found.append((name, np.array((x1, y1, x2, y2)) + error, rng.beta(4, 2)))
        for _ in range(rng.poisson(per_frame - near_objects)):
            name = str(rng.choice(CLASSES))
            found.append((name, _box(rng, name), rng.beta(1, 4)))
        (labels / f"{frame:06d}.txt").write_text(
            "".join(
                f"{name} {rng.choice((0, 0, 0, 0.2, 0.4)):.2f} {rng.integers(0, 4)} 0.10 "
                f"{_text(box)} 1.50 1.60 3.50 1.00 1.50 20.00 0.10\n"
                for name, box in (*objects, *regions)
            )
        )
        (results / f"{frame:06d}.txt").write_text(
            "".join(
                f"{name} -1 -1 -10 {_text(box)} -1 -1 -1 -1000 -1000 -1000 -10 {score:.6f}\n"
                for name, box, score in found
            )
        )
    return labels, results


def _box(rng: np.random.Generator, name: str) -> np.ndarray:
    height = float(np.exp(rng.uniform(np.log(14), np.log(220))))
    width = height * ASPECTS[name]
    x, bottom = rng.uniform(0, 1242), rng.uniform(170, 200 + height)
    return np.array((x - width / 2, bottom - height, x + width / 2, bottom))


def _text(box: np.ndarray) -> str:
    return " ".join(f"{side:.2f}" for side in box)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _process(*arguments: str | Path) -> Callable[[], object]:
    command = [sys.executable, *map(str, arguments)]
    return lambda: subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


def time_stages(labels: Path, results: Path, rounds: int) -> dict[str, float]:
    """Median seconds of each stage and of whole processes."""
    frames = frames_of(labels)

    def read() -> tuple[Columns, Columns]:
        return read_folder(labels, frames, scored=False), read_folder(results, frames, scored=True)

    columns = read()
    stages: dict[str, Callable[[], object]] = {
        "read the files": read,
        "KITTI AP, three classes": lambda: [evaluate_class(*columns, name) for name in MIN_OVERLAP],
        "process: start, read, KITTI AP": _process("-c", KITTI_ALONE, labels, results),
        "COCO, arrays": lambda: coco_arrays.evaluate_coco(*columns, CLASSES),
        "COCO, pycocotools (baseline)": lambda: coco_ap.evaluate_coco(*columns, CLASSES),
        "process: evaluate.py, everything": _process("evaluate.py", "--labels", labels, "--detections", results),
    }
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, stage in stages.items():
            times[name].append(_seconds(stage))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def growth(folder: Path, most: int, rounds: int) -> list[tuple[int, float, int]]:
    """(frames, median seconds, peak MiB) of a process reading and scoring a quarter, half and all of `most` frames."""
    rows = []
    for frames in (most // 4, most // 2, most):
        labels, results = make_set(folder / str(frames), frames, 9)
        work = _process("-c", KITTI_ALONE, labels, results)
        seconds = statistics.median(_seconds(work) for _ in range(rounds))
        peak = subprocess.check_output([sys.executable, "-c", PEAK, str(labels), str(results)], cwd=REPOSITORY)
        rows.append((frames, seconds, int(peak)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=3769)
    parser.add_argument("--most", type=int, default=40000, help="frames of the largest set, 0 to leave it out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = {}
        for per_frame in (9, 45):
            labels, results = make_set(folder / f"d{per_frame}", args.frames, per_frame)
            columns[per_frame] = time_stages(labels, results, args.rounds)
        print(f"{f'{args.frames} frames, seconds':<36}{'9 a frame':>11}{'45 a frame':>12}")
        for stage in columns[9]:
            print(f"{stage:<36}{columns[9][stage]:>11.3f}{columns[45][stage]:>12.3f}")
        nine, many = (c["COCO, pycocotools (baseline)"] / c["COCO, arrays"] for c in columns.values())
        print(f"{'arrays faster than pycocotools':<36}{nine:>9.0f} x{many:>10.0f} x")
        if args.most:
            print(f"\n{'frames (9 a frame)':<20}{'process s':>11}{'us a frame':>12}{'peak MiB':>10}")
            for frames, seconds, peak in growth(folder, args.most, max(1, args.rounds // 2)):
                print(f"{frames:<20}{seconds:>11.2f}{1e6 * seconds / frames:>12.0f}{peak:>10}")


if __name__ == "__main__":
    main()
