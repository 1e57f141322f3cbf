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
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.annotation import Annotation, DatasetError, Problem
from data.findings import SHOWN
from data.formats import open_source
from data.formats.kitti import DONT_CARE, KittiSource
from data.formats.listed import ListedSource
from data.formats.yolo import YoloSource
from data.frame_report import TOLERANCE, Report, box_fault, reason_of
from data.images import ImageError, check_image
from data.kitti_doctor import examine_kitti
from data.picture_doctor import PictureReport, examine_pictures, has_pictures
from system.command import Parser, count, exit_status, names
from system.files import write_text


def examine(root: Path, workers: int, classes: Sequence[str] = (), ignore: Sequence[str] = ()) -> Report:
    """The whole dataset. Raises ValueError when there is none. With `classes`, a name that neither they nor `ignore`
    have is a problem."""
    source = open_source(root, masks=True)
    if isinstance(source, KittiSource):
        report = examine_kitti(root, workers)
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
                report.count(objects, hw)
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
        return [Problem("image that cannot be read whole", file, None, reason_of(error, path))], [], None
    except DatasetError:
        return [], [], (height, width)
    problems = []
    for number, item in enumerate(objects, 1):
        if fault := box_fault(item.name, item.box, (height, width), tolerance=1 + TOLERANCE):
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


def _relative(path: Path, source: ListedSource | YoloSource) -> str:
    return str(path.relative_to(source.root)) if path.is_relative_to(source.root) else str(path)


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
        print(report.text(shown))
        if args.json:
            write_text(args.json, as_json + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
