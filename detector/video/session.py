"""One run of detect.py from its options to its summary."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from tqdm import tqdm

from detector.video.frames import Selection, Source, SourceError
from detector.video.journal import Journal
from detector.video.parts import merge_parts, part_name
from detector.video.picture_files import require_window
from detector.video.pipeline import Detector, Pipeline, Report
from detector.video.sinks import SAVES, make_sinks
from detector.video.sources import Item, find_items, open_sources
from detector.video.tracking import DEFAULT_TRACKER, Tracker, require_trackers
from system.files import locked, remove_parts, write_text
from training.distributed import APART, World

DEFAULT_ROOT = Path("runs/detect")
PARTS = ("read", "preprocess", "network", "postprocess", "track", "draw", "write")  # of the time, as a frame passes


@dataclass(frozen=True, slots=True)
class Options:
    """saves: None means pictures of images, videos of videos, and json; an empty tuple saves nothing."""

    sources: tuple[str, ...]
    output: Path | None = None
    saves: tuple[str, ...] | None = None
    crops: bool = False
    show: bool = False
    track: bool = False
    tracker: str = DEFAULT_TRACKER
    conf: float = 0.25
    batch: int | None = None
    patience: float = 30.0
    selection: Selection = field(default_factory=Selection)


def run(options: Options, make_detector: Callable[[bool], tuple[Detector, int]], stop: threading.Event) -> int:
    """Returns the exit status: 0 done, 1 some sources failed, 2 all did, 130 stopped by `stop`.

    `make_detector` gives the detector and the batch size that suits it. It is told whether frames can be had ahead of
    time, as those of a camera cannot. What is wrong with the options is said (ValueError, OSError) before it is called,
    as loading takes seconds.
    """
    world = World.from_environment()
    items = find_items(options.sources, options.selection)
    saves = _saves(options, items)
    if options.show:
        require_window()
    if options.track:
        require_trackers()
    if options.batch is not None and options.batch < 1:
        raise ValueError(f"--batch {options.batch}: give 1 or more")
    mine = _share(world, items, options.track)
    sources = open_sources(mine, options.selection, options.patience)
    fault = _fault(sources)
    world.join(APART)
    try:
        _require_one(world.gather(fault), len(items))
        # before the folder: wrong weights shall leave no empty one
        detector, good_batch = make_detector(all(source.kind != "live" for source in sources))
        journal = Journal(echo=lambda line: tqdm.write(line, file=sys.stderr))
        with ExitStack() as held:
            folder, is_new = world.main_does(lambda: _claim_folder(options, items, held))
            report = _process(options, sources, saves, folder, (detector, good_batch), journal, world, stop)
        told: dict[str, Any] = {"report": report, "journal": _plain(journal), "interrupted": stop.is_set()}
        everyone = world.gather(told)
    finally:
        world.leave()
    if not world.is_main:
        return 0  # rank 0 speaks for all
    if world.size > 1:
        merge_parts(folder, world.size, [item.source for item in items])
    summary = _summary(everyone, len(items), folder, saves)
    if is_new and not summary["frames"]:
        shutil.rmtree(folder)
        summary["output"] = "none, as nothing was read"
    else:
        write_text(folder / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    print(_in_words(summary))
    if summary["interrupted"]:
        return 130
    if not summary["failed"]:
        return 0
    return 1 if summary["frames"] else 2


def _process(
    options: Options,
    sources: Sequence[Source],
    saves: Sequence[str],
    folder: Path,
    batched: tuple[Detector, int],
    journal: Journal,
    world: World,
    stop: threading.Event,
) -> Report:
    detector, good_batch = batched
    # Silent when not a terminal; several ranks would write over each other's line.
    silent = not world.is_main or not sys.stderr.isatty()
    total = None
    if not silent:
        expected = [source.expected_frames() for source in sources]
        total = None if None in expected else sum(frames or 0 for frames in expected)
    part = part_name(world.rank, world.size)
    if world.size == 1:  # what runs that were killed have left in it
        remove_parts(path for save in SAVES for path in (folder / save).rglob(".*"))
    sinks = make_sinks(folder, saves, options.crops, options.show, options.track, part, stop)
    with tqdm(total=total, unit=" frames", desc="detect", disable=silent, dynamic_ncols=True) as bar:
        pipeline = Pipeline(
            sources,
            detector,
            sinks,
            journal,
            stop,
            options.batch or good_batch,
            partial(Tracker, conf=options.conf, kind=options.tracker) if options.track else None,
            progress=bar.update,
        )
        return pipeline.run()


def _share(world: World, items: Sequence[Item], track: bool) -> list[Item]:
    """What this process works on. With ids, all pictures together are one sequence, which one process has to see."""
    pictures = [item for item in items if item.kind == "image"] if track else []
    units = [pictures] if pictures else []
    units += [[item] for item in items if not track or item.kind != "image"]
    mine = {id(item) for unit in world.share(units) for item in unit}
    return [item for item in items if id(item) in mine]


def _fault(sources: Sequence[Source]) -> str | None:
    """Why none of them can be opened; None if one can. To know that takes milliseconds, to load a network seconds."""
    first = ""
    for source in sources:
        try:
            source.probe()
            return None
        except SourceError as error:
            first = first or f"{source.source}: {error}"
    return first


def _require_one(faults: Sequence[str | None], sources: int) -> None:
    """At least one process has a source that can be opened."""
    if None not in faults:
        first = next(fault for fault in faults if fault)
        raise ValueError(first + ("; no other source can be read either" if sources > 1 else ""))


def _saves(options: Options, items: Sequence[Item]) -> tuple[str, ...]:
    images = any(item.kind == "image" for item in items)
    moving = any(item.kind != "image" for item in items)
    if options.saves is None:
        return (*(("image",) if images else ()), *(("video",) if moving else ()), "json")
    for save in options.saves:
        if save not in SAVES:
            raise ValueError(f"--save {save}: unknown; choose from {','.join(SAVES)}, or none")
    if "video" in options.saves and not moving:
        raise ValueError("--save video: all sources are images; write --save image, or give a video")
    if "mot" in options.saves and not options.track:
        raise ValueError("--save mot: that format is of objects with ids; add --track")
    return options.saves


def _claim_folder(options: Options, items: Sequence[Item], held: ExitStack) -> tuple[Path, bool]:
    """As `_make_folder`, and locked: before other processes write there, as the lock clears away what lies about."""
    folder, is_new = _make_folder(options, items)
    held.enter_context(locked(folder))
    return folder, is_new


def _make_folder(options: Options, items: Sequence[Item]) -> tuple[Path, bool]:
    """--output as it is, or the first free of runs/detect/<name>, <name>-2, ...; made, and checked to take files.
    And whether it is new.
    """
    if options.output is not None:
        folder = options.output
    else:
        first = Path(options.sources[0])
        name = first.resolve().name if first.is_dir() else Path(items[0].name).name
        folder, number = DEFAULT_ROOT / name, 1
        while folder.exists():
            number += 1
            folder = DEFAULT_ROOT / f"{name}-{number}"
    probe, is_new = folder / ".writable", not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(f"{folder}: cannot write there ({error.strerror}); name another folder with --output") from None
    return folder, is_new


def _plain(journal: Journal) -> dict[str, Any]:
    return {"failures": journal.failures, "warnings": journal.warnings, "dropped": journal.dropped}


def _summary(everyone: Sequence[dict[str, Any]], sources: int, folder: Path, saves: Sequence[str]) -> dict[str, Any]:
    """Totals over all ranks. Frames a second and stage times are of the wall clock of the slowest rank."""
    reports: list[Report] = [mine["report"] for mine in everyone]
    frames = sum(report.frames for report in reports)
    wall_s = max(report.wall_s for report in reports)
    seconds: Counter[str] = Counter()
    detections: Counter[str] = Counter()
    for report in reports:
        seconds.update(report.seconds)
        detections.update(report.detections)
    summary: dict[str, Any] = {
        "sources": sources,
        "frames": frames,
        "seconds": round(wall_s, 3),
        "fps": round(frames / wall_s, 2) if wall_s else 0.0,
        "ms_per_frame": {part: round(1000 * seconds[part] / max(1, frames), 3) for part in PARTS if part in seconds},
        "detections": dict(detections.most_common()),
        "failed": {source: why for mine in everyone for source, why in mine["journal"]["failures"].items()},
        "warnings": [warning for mine in everyone for warning in mine["journal"]["warnings"]],
        "dropped_frames": {source: n for mine in everyone for source, n in mine["journal"]["dropped"].items()},
        "interrupted": any(mine["interrupted"] for mine in everyone),
        "saved": list(saves),
        "output": str(folder),
    }
    if reports[0].tracks is not None:
        tracks: Counter[str] = Counter()
        for report in reports:
            tracks.update(report.tracks or {})
        summary["tracks"] = {name: count for name, count in tracks.most_common() if count}
    return summary


def _in_words(summary: dict[str, Any]) -> str:
    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in numbers.items()) or "none"

    rows = [("frames", f"{summary['frames']} in {summary['seconds']:.1f} s, {summary['fps']:.1f} frames/s")]
    rows.append(("objects", counts(summary["detections"])))
    if "tracks" in summary:
        rows.append(("tracks", counts(summary["tracks"])))
    times = ", ".join(f"{part} {ms:.1f}" for part, ms in summary["ms_per_frame"].items())
    rows.append(("ms a frame", f"{times} (stages run beside each other)"))
    if summary["dropped_frames"]:
        reason = "frames that came faster than they were processed"
        rows.append(("dropped", f"{counts(summary['dropped_frames'])} ({reason})"))
    if summary["failed"]:
        failed = summary["failed"]
        rows.append(("failed", f"{len(failed)} of {summary['sources']} sources: {', '.join(failed)}"))
    if summary["interrupted"]:
        rows.append(("interrupted", "what was done so far is kept"))
    rows.append(("output", summary["output"]))
    fit = TextWrapper(80, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fit.fill(f"{name:12}{text}") for name, text in rows)
