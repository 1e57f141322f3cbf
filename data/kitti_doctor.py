"""KITTI's own files, looked at line by line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.annotation import Problem
from data.formats.kitti import (
    CLASSES,
    DONT_CARE,
    IMAGE_SUFFIXES,
    IMAGES,
    LABELS,
    LISTS,
    SPLITS,
    Label,
    LabelError,
    parse_label,
)
from data.frame_report import Report, box_fault, reason_of
from data.images import ImageError, check_image


def examine_kitti(root: Path, workers: int) -> Report:
    """Every frame that has an image or a label file, and the lists. Raises ValueError where there is none."""
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
            report.count(objects, hw)
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
        return None, Problem(
            "image that cannot be read whole", str(path.relative_to(root)), None, reason_of(error, path)
        )


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
        if fault := box_fault(label.name, label.box, hw):
            yield Problem(fault[0], file, number, fault[1])


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
        if not lines:
            problems.append(Problem("empty list of frames", file, None, "write one frame a line, or remove the file"))
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
