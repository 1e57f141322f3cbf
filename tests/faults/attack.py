"""The attack on version 0.1 again, as one table: python -m tests.faults.attack --share 0.1 --seed 2

Everything that this project reads is damaged at random, servers lie, processes are killed. A share makes it shorter.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from system.command import count, fraction
from tests.faults.fuzz import fuzz, quiet
from tests.faults.test_killed import kill_and_compare, kill_and_resume

READ: dict[str, tuple[int, tuple[str, ...]]] = {  # tries of each reader
    "label lines and lists of frames": (20_000, ("label", "frames")),
    "settings on the command line": (5_000, ("override",)),
    "configs": (5_000, ("config",)),
    "data sets of YOLO, COCO and BDD100K, odd class names": (5_000, ("yolo", "coco", "bdd100k", "auto")),
    "images": (2_000, ("image",)),
    "videos, through all of detect.py but the network": (2_000, ("video",)),
    "checkpoints and weight files": (2_000, ("weights", "content", "pickled")),
    "exported files": (500, ("onnx", "openvino")),
    "archives": (2_000, ("archive",)),
    "answers of servers to a download": (2_000, ("transfer",)),
}
KILLED: dict[str, tuple[int, Callable[[Path, int, random.Random], None]]] = {  # signals
    "signals to a training that saves at every step": (60, kill_and_resume),
    "signals to a comparison of two variants": (60, kill_and_compare),
}


def read(readers: Sequence[str], tries: int, seed: int) -> list[str]:
    """What failed."""
    folders = {name: Path(tempfile.mkdtemp(prefix=f"attack-{name}-")) for name in readers}
    return [failure for name, folder in folders.items() for failure in fuzz(name, tries, seed, folder)[1]]


def killed(work: Callable[[Path, int, random.Random], None], signals: int, seed: int) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="attack-killed-"))
    try:
        with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            work(folder, signals, random.Random(seed))
    except AssertionError as fault:
        return [f"{folder}: {fault}"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.attack", description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=fraction, default=1.0, help="of all tries (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=count, help="signals of each kind (default: the share of 60)")
    args = parser.parse_args()
    all_failures: list[str] = []
    print("| what | tries | failures | seconds |\n|---|---|---|---|")
    for what, (full, how) in {**READ, **KILLED}.items():
        tries, started = max(1, round(args.share * full)), time.monotonic()
        if callable(how):
            tries = args.kills or tries
            failures = killed(how, tries, args.seed)
        else:
            failures = read(how, tries, args.seed)
            tries *= len(how)
        print(f"| {what} | {tries:,} | {len(failures)} | {time.monotonic() - started:.0f} |", flush=True)
        all_failures += failures
    print(*all_failures, sep="\n", file=sys.stderr)
    return 1 if all_failures else 0


if __name__ == "__main__":
    sys.exit(main())
