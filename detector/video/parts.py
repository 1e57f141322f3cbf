"""Data files of a run on several processes: each rank writes its part; the main one joins them."""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from system.files import replacing, write_text


def part_name(rank: int, world: int) -> str:
    """Goes into the names of files that several ranks write."""
    return f".rank{rank}" if world > 1 else ""


def merge_parts(folder: Path, world: int, order: Sequence[str]) -> None:
    """Join detections.rank*.jsonl and .csv into one file each, in the order of the sources, and coco.rank*.json; remove
    the parts.
    """
    position = {source: index for index, source in reversed(list(enumerate(order)))}
    for suffix in (".jsonl", ".csv"):
        names = [f"detections{part_name(rank, world)}{suffix}" for rank in range(world)]
        parts = [path for name in names if (path := folder / name).exists()]
        if not parts:
            continue
        with ExitStack() as stack:
            partial = stack.enter_context(replacing(folder / f"detections{suffix}"))
            out = stack.enter_context(open(partial, "w", encoding="utf-8", newline=""))
            files = [stack.enter_context(open(part, encoding="utf-8", newline="")) for part in parts]
            if suffix == ".csv":
                out.write(next(iter([next(file, "") for file in files])))
            keyed = [_by_source(file, suffix, position) for file in files]
            out.writelines(line for _, line in heapq.merge(*keyed, key=lambda entry: entry[0]))
        for part in parts:
            part.unlink()
    _merge_coco(folder, [folder / f"coco{part_name(rank, world)}.json" for rank in range(world)])


def _merge_coco(folder: Path, names: Sequence[Path]) -> None:
    """The order of COCO's results means nothing."""
    parts = [path for path in names if path.exists()]
    if parts:
        rows = [json.dumps(row, ensure_ascii=False) for path in parts for row in json.loads(path.read_text("utf-8"))]
        write_text(folder / "coco.json", "[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n")
    for part in parts:
        part.unlink()


def _by_source(lines: Iterator[str], suffix: str, position: dict[str, int]) -> Iterator[tuple[int, str]]:
    for line in lines:
        source = json.loads(line)["source"] if suffix == ".jsonl" else next(csv.reader([line]))[0]
        yield position.get(source, len(position)), line
