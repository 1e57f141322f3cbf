"""What is wrong with pictures in class folders, and what is in them; `python -m data.doctor ROOT` asks.

Every picture is decoded whole, the classes of every split are held against those of the first, and a picture that is in
two splits is told.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.annotation import DatasetError, Problem
from data.findings import SHOWN, bars, listed
from data.images import ImageError, read_image
from data.pictures import ANNOTATIONS, CIFAR, CIFAR_SPLITS, INNER, open_pictures, pictures_in

SPLITS = ("train", "val", "test")
NO_CLASSES = {"images", "labels"}  # folders of detection data, as YOLO's
FEW = 20  # classes that all get a line


@dataclass
class PictureReport:
    root: str
    splits: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    image_sizes: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "problem_counts": Counter(problem.kind for problem in self.problems),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def text(self, shown: int | None = SHOWN) -> str:
        """For a terminal of 80 columns; `shown` problems of each kind, None: all."""
        ordered = self.classes.most_common()
        some = ordered if len(ordered) <= FEW else ordered[: FEW // 2] + ordered[-FEW // 2 :]
        title = "Pictures by class" + ("" if len(some) == len(ordered) else ", the largest and the smallest")
        return "\n".join(
            [
                self.root,
                f"{self.splits.total():,} pictures of {len(self.classes):,} classes",
                *("", "Pictures by split", *bars(self.splits)),
                *("", title, *bars(dict(some))),
                *("", "Pictures by size", *bars(dict(self.image_sizes.most_common(8)))),
                *("", *listed(self.problems, shown)),
            ]
        )


def has_pictures(root: Path) -> bool:
    """Whether this is data for a classifier."""
    if any((root / name).is_dir() for name in (CIFAR, INNER)):
        return True
    return not (root / "training").is_dir() and any(_class_folders(root / split) for split in SPLITS)


def examine_pictures(root: Path, workers: int) -> PictureReport:
    """The whole data set, every split that is there."""
    report = PictureReport(str(root))
    if (root / CIFAR).is_dir():
        _examine_cifar(root, report)
        return report
    root = root / INNER if (root / INNER).is_dir() else root
    seen: dict[bytes, str] = {}
    for split in (name for name in SPLITS if (root / name).is_dir()):
        by_class = _pictures_by_class(root, split, report)
        _hold_against_the_first(root / split, by_class, report)
        report.classes.update({name: len(paths) for name, paths in by_class.items()})
        paths = [path for of_class in by_class.values() for path in of_class]
        report.splits[split] = len(paths)
        pool = ThreadPoolExecutor(workers)  # threads are enough: decoding runs without the interpreter's lock
        try:
            for path, found in zip(paths, tqdm(pool.map(_examine, paths), split, len(paths), leave=False), strict=True):
                name = str(path.relative_to(root))
                if isinstance(found, str):
                    report.problems.append(Problem("picture that cannot be read whole", name, None, found))
                    continue
                size, content = found
                report.image_sizes[size] += 1
                first = seen.setdefault(content, name)
                if Path(first).parts[0] != split:
                    message = f"is {first} too; results on {split} would flatter"
                    report.problems.append(Problem("picture in two splits", name, None, message))
        finally:
            pool.shutdown(cancel_futures=True)
    return report


def _examine_cifar(root: Path, report: PictureReport) -> None:
    for split in CIFAR_SPLITS:
        try:
            pictures = open_pictures(root, split)
        except DatasetError as error:
            report.problems.append(Problem("files that are not CIFAR-10's", CIFAR, None, str(error)))
            return
        report.splits[split] = len(pictures.labels)
        report.classes.update(pictures.classes[label] for label in pictures.labels)
        report.image_sizes["32 x 32"] += len(pictures.labels)


def _pictures_by_class(root: Path, split: str, report: PictureReport) -> dict[str, list[Path]]:
    """Also those of a split that cannot be opened as a whole: what its folders hold."""
    try:
        pictures = open_pictures(root, split)
    except DatasetError as error:
        report.problems.append(Problem("split that cannot be used", split, None, str(error)))
        return {folder.name: pictures_in(folder) for folder in _class_folders(root / split)}
    found: dict[str, list[Path]] = {name: [] for name in pictures.classes}
    for index, label in enumerate(pictures.labels):
        found[pictures.classes[label]].append(root / pictures.name(index))
    return found


def _hold_against_the_first(folder: Path, by_class: dict[str, list[Path]], report: PictureReport) -> None:
    """The classes of this split against those of the splits before it."""
    if not report.splits:
        return
    first = next(iter(report.splits))
    for kind, names in (
        (f"class that is not in {first}", set(by_class) - set(report.classes)),
        (f"class that is in {first} only", set(report.classes) - set(by_class)),
    ):
        message = "every split needs the same class folders"
        report.problems += [Problem(kind, f"{folder.name}/{name}", None, message) for name in sorted(names)]


def _class_folders(folder: Path) -> list[Path]:
    if (folder / ANNOTATIONS).is_file() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in NO_CLASSES)


def _examine(path: Path) -> tuple[str, bytes] | str:
    """The size of a picture and what tells it from others, or what is wrong with it."""
    try:
        height, width = read_image(path).shape[:2]
        return f"{width} x {height}", hashlib.sha256(path.read_bytes()).digest()
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return str(error.strerror)
