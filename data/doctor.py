"""What is wrong with a dataset, and what is in it: `python -m data.doctor ROOT`.

Every image is decoded whole, every label line parsed and its box held against the image, every list in ROOT/ImageSets
(or the built-in one) against the files. Any format of data/formats will do; KITTI's own is looked at line by line.
Pictures in class folders go to data/picture_doctor.py. Exit status: 0 nothing found, 1 problems found, 2 ROOT is no
dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.annotation import Annotation, Box, DatasetError, Problem
from data.findings import SHOWN, bars, listed
from data.formats import open_source
from data.formats.kitti import (
    CLASSES,
    DONT_CARE,
    IMAGE_SUFFIXES,
    IMAGES,
    LABELS,
    LISTS,
    SPLITS,
    KittiSource,
    Label,
    LabelError,
    parse_label,
)
from data.formats.listed import ListedSource
from data.formats.yolo import YoloSource
from data.images import ImageError, check_image
from data.picture_doctor import PictureReport, examine_pictures, has_pictures
from system.command import Parser, count, exit_status, names
from system.files import write_text

TOLERANCE = 1.0  # pixels; KITTI's own boxes end exactly at the last pixel, those of converters often one further
# Lower edges of the bins of box heights; KITTI counts objects from 25 px, easy ones from 40 px.
HEIGHTS = {0: "0-12", 12: "12-25", 25: "25-40", 40: "40-64", 64: "64-100", 100: "100-160", 160: "160-256", 256: "256-"}


@dataclass
class Report:
    root: str
    images: int = 0
    labels: int = 0
    background: int = 0  # frames without objects and regions
    classes: Counter[str] = field(default_factory=Counter)
    box_heights: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(HEIGHTS.values(), 0)))
    image_sizes: Counter[str] = field(default_factory=Counter)
    splits: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "problem_counts": Counter(problem.kind for problem in self.problems),
            "problems": [asdict(problem) for problem in self.problems],
        }


def examine(root: Path, workers: int, classes: Sequence[str] = (), ignore: Sequence[str] = ()) -> Report:
    """The whole dataset. Raises ValueError when there is none. With `classes`, a name that neither they nor `ignore`
    have is a problem."""
    source = open_source(root, masks=True)
    if isinstance(source, KittiSource):
        report = _examine_kitti(root, workers)
    elif isinstance(source, (ListedSource, YoloSource)):
        report = _examine_source(source, workers)
    else:
        raise ValueError(f"{root}: the doctor does not know the format {source.kind}")
    report.problems += _examine_names(report, classes, ignore)
    return report


def _examine_source(source: ListedSource | YoloSource, workers: int) -> Report:
    """A data set in a format that is not KITTI's, split by split."""
    report = Report(str(source.root))
    split_of: dict[Path, str] = {}
    for split in source.splits():
        frames = source.frames(split)
        report.splits[split] = len(frames)
        report.problems += source.problems(split)
        pool = ThreadPoolExecutor(workers)
        try:
            examined = pool.map(lambda frame: _examine_foreign(source, frame), frames)
            for problems, objects, hw in tqdm(examined, split, len(frames), leave=False):
                report.problems += problems
                _count(report, objects, hw)
        finally:
            pool.shutdown(cancel_futures=True)
        for path in map(source.image_path, frames):
            first = split_of.setdefault(path.resolve(), split)
            if first != split:
                message = f"is in {first} too; results on {split} would flatter"
                kind, file = f"frame in {first} and in {split}", _relative(path, source)
                report.problems.append(Problem(kind, file, None, message))
    report.problems = list(dict.fromkeys(report.problems))  # splits may share a folder
    report.images = sum(report.image_sizes.values())
    report.labels = sum(report.splits.values())
    return report


def _examine_foreign(
    source: ListedSource | YoloSource, frame: str
) -> tuple[list[Problem], list[Annotation], tuple[int, int] | None]:
    """Problems, objects and image (height, width) of one frame; what cannot be read of its labels is told elsewhere."""
    path = source.image_path(frame)
    file, where = _relative(path, source), _relative(Path(source.where(frame)), source)
    if not path.is_file():
        return (
            [Problem("image that is not there", file, None, "it is listed; add it, or take it off the list")],
            [],
            None,
        )
    try:
        height, width = check_image(path).shape[:2]
        objects = source.annotations(frame)
    except (ImageError, OSError) as error:
        return [Problem("image that cannot be read whole", file, None, _reason(error, path))], [], None
    except DatasetError:
        return [], [], (height, width)
    problems = []
    for number, item in enumerate(objects, 1):
        if fault := _box_fault(item.name, item.box, (height, width), tolerance=1 + TOLERANCE):
            kind, words = fault
            problems.append(Problem(kind, where, None, f"object {number}: {words}"))
    return problems, objects, (height, width)


def _examine_names(report: Report, classes: Sequence[str], ignore: Sequence[str]) -> Iterator[Problem]:
    """Names that nobody asked for, and those that are perhaps the same."""
    known = {*classes, *ignore, DONT_CARE}
    by_folded: defaultdict[str, list[str]] = defaultdict(list)
    for name, number in report.classes.items():
        by_folded[name.casefold()].append(name)
        if classes and name not in known:
            message = f"{name!r} ({number:,}) is neither in --classes nor in --ignore"
            yield Problem("unknown class", report.root, None, message)
    for alike in by_folded.values():
        if len(alike) > 1:
            found = " and ".join(f"{name!r} ({report.classes[name]:,})" for name in alike)
            message = f"{found}: data.convert --map {alike[1]}={alike[0]} makes one of them"
            yield Problem("names that differ in case only", report.root, None, message)


def _count(report: Report, objects: Sequence[Annotation], hw: tuple[int, int] | None) -> None:
    report.background += not objects
    report.classes.update(item.name for item in objects)
    report.box_heights.update(_bin(item) for item in objects if not item.ignore)
    if hw:
        report.image_sizes[f"{hw[1]} x {hw[0]}"] += 1


def _relative(path: Path, source: ListedSource | YoloSource) -> str:
    return str(path.relative_to(source.root)) if path.is_relative_to(source.root) else str(path)


def _examine_kitti(root: Path, workers: int) -> Report:
    images, labels = _files(root / IMAGES, IMAGE_SUFFIXES), _files(root / LABELS, (".txt",))
    if not images and not labels:
        raise ValueError(f"{root}: nothing in {IMAGES} and {LABELS}; ROOT is the folder that holds training/")
    report = Report(str(root), sum(map(len, images.values())), len(labels))

    def examine_one(frame: str) -> tuple[list[Problem], list[Label], tuple[int, int] | None]:
        return _examine_frame(root, frame, images.get(frame, []), labels.get(frame))

    frames = sorted(images.keys() | labels.keys())
    pool = ThreadPoolExecutor(workers)  # threads are enough: decoding runs without the interpreter's lock
    try:
        examined = pool.map(examine_one, frames)
        for problems, objects, hw in tqdm(examined, "frames", len(frames), leave=False):
            report.problems += problems
            _count(report, objects, hw)
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt: finish the frames begun, start no other
    report.splits, problems = _examine_splits(root, images.keys() & labels.keys())
    report.problems += problems
    if report.classes.keys() <= {*CLASSES, DONT_CARE}:  # KITTI itself, or a part of it: say which are not there
        report.classes = Counter({name: report.classes[name] for name in (*CLASSES, DONT_CARE)})
    return report


def _files(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each frame, those of the first suffix first: the dataset takes that one."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for suffix in suffixes:
        for path in folder.glob(f"*{suffix}"):
            found[path.stem].append(path)
    return dict(found)


def _examine_frame(
    root: Path, frame: str, images: list[Path], labels: list[Path] | None
) -> tuple[list[Problem], list[Label], tuple[int, int] | None]:
    """Problems, objects and image (height, width) of one frame."""
    problems: list[Problem] = []
    hw = None
    if images:
        hw, problem = _examine_image(root, images[0])
        problems += [problem] if problem else []
        for other in images[1:]:
            message = f"{images[0].name} is used, remove one of them"
            problems.append(Problem("two images for one frame", str(other.relative_to(root)), None, message))
    else:
        message = f"no image {frame}{' or '.join(IMAGE_SUFFIXES[:2])} in {IMAGES}"
        problems.append(Problem("label without an image", str(LABELS / f"{frame}.txt"), None, message))
    if labels is None:
        message = f"no {LABELS / frame}.txt; a frame without objects has an empty file"
        problems.append(Problem("image without a label file", str(images[0].relative_to(root)), None, message))
        return problems, [], hw
    objects = []
    for found in _examine_labels(root, labels[0], hw):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            objects.append(found)
    return problems, objects, hw


def _examine_image(root: Path, path: Path) -> tuple[tuple[int, int] | None, Problem | None]:
    try:
        height, width = check_image(path).shape[:2]
        return (height, width), None
    except (ImageError, OSError) as error:
        return None, Problem("image that cannot be read whole", str(path.relative_to(root)), None, _reason(error, path))


def _reason(error: Exception, path: Path) -> str:
    return str(error.strerror if isinstance(error, OSError) else error).removeprefix(f"{path}: ")


def _examine_labels(root: Path, path: Path, hw: tuple[int, int] | None) -> Iterator[Problem | Label]:
    """Every line of a label file as an object or a problem, or as both."""
    file = str(path.relative_to(root))
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as text_file:
            lines = list(text_file)  # not splitlines(): it also ends lines at form feeds
    except OSError as error:
        yield Problem("malformed label line", file, None, str(error.strerror))
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = parse_label(line, "")
        except LabelError as error:
            yield Problem("malformed label line", file, number, str(error).removeprefix(": "))
            continue
        yield label
        if fault := _box_fault(label.name, label.box, hw):
            yield Problem(fault[0], file, number, fault[1])


def _box_fault(name: str, box: Box, hw: tuple[int, int] | None, tolerance: float = TOLERANCE) -> tuple[str, str] | None:
    """What is wrong with a box in an image of (height, width): the kind of problem and the words for it."""
    x1, y1, x2, y2 = box
    shown = f"{name} {x1:g} {y1:g} {x2:g} {y2:g}"
    if x2 <= x1 or y2 <= y1:
        return "box inverted or without area", f"{shown}, expected x1 < x2 and y1 < y2"
    if hw and (min(x1, y1) < -tolerance or x2 > hw[1] - 1 + tolerance or y2 > hw[0] - 1 + tolerance):
        return "box outside the image", f"{shown}, the image is {hw[1]} x {hw[0]}"
    return None


def _examine_splits(root: Path, complete: set[str]) -> tuple[dict[str, int], list[Problem]]:
    """Frames a list, and problems. `complete` are the frames with image and label file.

    A list named `test` belongs to KITTI's testing/ folder, which has no labels: only doubles are looked for in it.
    """
    own = {path.stem: path for path in sorted((root / LISTS).glob("*.txt"))}
    built_in = {name: SPLITS / f"{name}.txt" for name in ("train", "val") if name not in own}
    problems: list[Problem] = []
    lines_of: dict[str, dict[str, int]] = {}
    for name, path in (own | built_in).items():
        file = str(path.relative_to(root)) if name in own else f"built-in list {path.name}"
        lines = lines_of[name] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
            for frame in line.split():
                if frame in lines:
                    message = f"{frame} stands already in line {lines[frame]}"
                    problems.append(Problem("frame twice in a list", file, number, message))
                lines.setdefault(frame, number)
        absent = [frame for frame in lines if frame not in complete]
        if name in built_in and absent:
            message = f"{len(absent):,} of {len(lines):,} frames lack image or label; write an ImageSets/{path.name}"
            problems.append(Problem("listed frame without its files", file, None, message))
        elif name != "test":
            problems += [
                Problem("listed frame without its files", file, lines[frame], f"{frame} lacks an image or a label file")
                for frame in absent
            ]
    for frame in lines_of["train"].keys() & lines_of["val"].keys():
        message = f"{frame} is in train too (line {lines_of['train'][frame]}); results on val would flatter"
        file = "ImageSets/val.txt" if "val" in own else "built-in list val.txt"
        problems.append(Problem("frame in train and in val", file, lines_of["val"][frame], message))
    return {name: len(lines) for name, lines in lines_of.items()}, problems


def _bin(item: Annotation) -> str:
    height = item.box[3] - item.box[1]
    return HEIGHTS[max((edge for edge in HEIGHTS if height >= edge), default=0)]


def text(report: Report, shown: int | None = SHOWN) -> str:
    """The report for a terminal of 80 columns; `shown` problems of each kind, None: all."""
    objects = sum(report.classes.values())
    lines = [f"{report.root}", f"{report.images:,} images, {report.labels:,} label files, {objects:,} objects"]
    lines += [f"{report.background:,} frames have no object: background"] if report.background else []
    lines += ["", "Objects by class", *bars(report.classes), ""]
    lines += ["Objects by box height in pixels (without regions to ignore)", *bars(report.box_heights), ""]
    if report.image_sizes:
        common = dict(report.image_sizes.most_common(8))
        others = len(report.image_sizes) - len(common)
        if others:
            common[f"{others} others"] = report.image_sizes.total() - sum(common.values())
        lines += ["Images by size", *bars(common), ""]
    lines += ["Frames by split", *bars(report.splits), ""]
    lines += listed(report.problems, shown)
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="python -m data.doctor", description="Find what is wrong with a dataset.")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set, in any known format")
    parser.add_argument("--classes", type=names, default=(), metavar="NAME,..", help="tell names that are not of these")
    parser.add_argument("--ignore", type=names, default=(), metavar="NAME,..", help="nor of these, regions to ignore")
    parser.add_argument("--json", metavar="OUT", help="write the report, every problem included, as JSON; - prints it")
    parser.add_argument("--workers", type=count, default=os.cpu_count(), metavar="N", help="threads (%(default)s)")
    parser.add_argument("--all", action="store_true", help=f"show every problem, not the first {SHOWN} of each kind")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.json and not Path(args.json).absolute().parent.is_dir():  # said before minutes of work, not after
        raise ValueError(f"--json {args.json}: no such folder; make it first")
    if has_pictures(args.root):
        if args.classes or args.ignore:
            raise ValueError(f"--classes, --ignore: for labelled frames; {args.root} has pictures in class folders")
        report: Report | PictureReport = examine_pictures(args.root, args.workers)
    else:
        report = examine(args.root, args.workers, args.classes, args.ignore)
    as_json = json.dumps(report.to_json(), indent=2)
    if args.json == "-":
        print(as_json)
    else:
        shown = None if args.all else SHOWN
        print(text(report, shown) if isinstance(report, Report) else report.text(shown))
        if args.json:
            write_text(args.json, as_json + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
