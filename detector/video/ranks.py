"""One run on several processes (torchrun): each takes its share of the sources; rank 0 joins what they wrote."""

from __future__ import annotations

import csv
import heapq
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among `world`, as torchrun tells it in the environment."""

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> Ranks:
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def part(self) -> str:
        """Goes into the names of files that several ranks write."""
        return f".rank{self.rank}" if self.world > 1 else ""

    def join(self) -> None:
        if self.world > 1:
            import torch.distributed as dist

            # gloo: only names and numbers are exchanged. Shares may differ by hours, so nobody may lose patience.
            dist.init_process_group("gloo", timeout=timedelta(days=30))

    def leave(self) -> None:
        if self.world > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    def first_does(self, work: Callable[[], T]) -> T:
        """Rank 0 does the work; every rank gets its result, or its error."""
        if self.world == 1:
            return work()
        import torch.distributed as dist

        box: list[Any] = [None]
        if self.first:
            try:
                box = [work()]
            except OSError as error:
                box = [error]
        dist.broadcast_object_list(box, src=0)
        if isinstance(box[0], OSError):
            raise box[0]
        result: T = box[0]
        return result

    def collect(self, value: T) -> list[T]:
        """Everybody's value on every rank, in order of rank; waits for the last one."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def share(self, items: Sequence[T]) -> list[T]:
        """Every world-th item: neighbours in a folder are alike in size, so shares are too."""
        return list(items[self.rank :: self.world])


def merge_parts(folder: Path, world: int, order: Sequence[str]) -> None:
    """Join detections.rank*.jsonl and .csv into one file each, in the order of the sources, and remove the parts."""
    position = {source: index for index, source in reversed(list(enumerate(order)))}
    for suffix in (".jsonl", ".csv"):
        parts = [path for rank in range(world) if (path := folder / f"detections.rank{rank}{suffix}").exists()]
        if not parts:
            continue
        target = folder / f"detections{suffix}"
        partial = folder / f".{target.name}.part"
        with ExitStack() as stack, open(partial, "w", encoding="utf-8", newline="") as out:
            files = [stack.enter_context(open(part, encoding="utf-8", newline="")) for part in parts]
            if suffix == ".csv":
                out.write(next(iter([next(file, "") for file in files])))
            keyed = [_by_source(file, suffix, position) for file in files]
            out.writelines(line for _, line in heapq.merge(*keyed, key=lambda entry: entry[0]))
        os.replace(partial, target)
        for part in parts:
            part.unlink()


def _by_source(lines: Iterator[str], suffix: str, position: dict[str, int]) -> Iterator[tuple[int, str]]:
    for line in lines:
        source = json.loads(line)["source"] if suffix == ".jsonl" else next(csv.reader([line]))[0]
        yield position.get(source, len(position)), line
