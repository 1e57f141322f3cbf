"""Decoded images kept in memory or on disk, optionally reduced: a PNG takes longer to decode than all the rest.

Both caches fill as frames are first read, never beyond the bound they tell when they are opened.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from data.images import image_size, read_image
from data.resize import fit, resize
from system.files import write_bytes

GB = 1024**3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """Which cache, and how large: `limit` in bytes, `max_side` in pixels (None: images as they are)."""

    kind: Literal["ram", "disk"]
    limit: float = 8 * GB
    max_side: int | None = None
    folder: Path | None = None  # of the disk cache

    def open(self, paths: Sequence[Path]) -> RamCache | DiskCache:
        """A cache of these image files, as many of the first of them as fit. The log tells how many and how large."""
        if self.kind == "ram":
            return RamCache(plan(paths, self.limit, self.max_side, "memory"))
        if self.folder is None:
            raise ValueError("a disk cache needs a folder; set data.cache_dir")
        self.folder.mkdir(parents=True, exist_ok=True)
        limit = min(self.limit, _room(self.folder, paths))
        return DiskCache(plan(paths, limit, self.max_side, str(self.folder)), self.folder)


@dataclass(frozen=True, slots=True)
class Slot:
    """One image file of the plan: its size and the size it is kept in (height, width), and the state it was seen in."""

    source: tuple[int, int]
    kept: tuple[int, int]
    stamp: tuple[int, int]  # mtime_ns, bytes: a file that differs in either has changed
    fits: bool

    @property
    def bytes(self) -> int:
        return self.kept[0] * self.kept[1] * 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be kept, decided before anything is; `summary` tells it to the person."""

    slots: dict[Path, Slot]
    summary: str


def plan(paths: Sequence[Path], limit: float, max_side: int | None, where: str) -> Plan:
    """As many of the first images as fit into `limit` bytes. Reads only the headers of the files."""
    slots: dict[Path, Slot] = {}
    total = kept_total = kept_count = 0
    for path in paths:
        source = image_size(path)
        scale = min(1.0, max_side / max(source)) if max_side else 1.0
        kept = (max(1, round(source[0] * scale)), max(1, round(source[1] * scale)))
        size = kept[0] * kept[1] * 3
        total += size
        fits = total <= limit
        slots[path] = Slot(source, kept, _stamp(path), fits)
        kept_total, kept_count = kept_total + size * fits, kept_count + fits
    summary = f"image cache in {where}: {kept_count:,} of {len(slots):,} frames, at most {kept_total / GB:.2f} GB"
    if kept_count < len(slots):
        summary += f" (all would take {total / GB:.2f} GB, there is room for {limit / GB:.2f} GB)"
    log.info(summary)
    return Plan(slots, summary)


class RamCache:
    """Shared by the process that opens it and the workers it forks: what one of them decodes, all of them have."""

    def __init__(self, plan: Plan) -> None:
        self._slots, self.summary = plan.slots, plan.summary
        fitting = [path for path, slot in plan.slots.items() if slot.fits]
        starts = np.cumsum([len(fitting), *(plan.slots[path].bytes for path in fitting)])
        self._starts = dict(zip(fitting, map(int, starts), strict=False))
        self._flags = {path: number for number, path in enumerate(fitting)}
        # Anonymous shared memory: zero until written, not counted against the (often tiny) /dev/shm of a container.
        self._memory = np.frombuffer(mmap.mmap(-1, max(1, int(starts[-1]))), np.uint8)

    def read(self, path: Path) -> tuple[np.ndarray, tuple[int, int]]:
        """The image (uint8 [h, w, 3] RGB, read-only if cached) and the (height, width) of its file."""
        slot = self._slots[path]
        if not slot.fits or _stamp(path) != slot.stamp:  # changed since: memory others may be reading is left alone
            return _decode(path, slot)
        flag, start = self._flags[path], self._starts[path]
        kept = self._memory[start : start + slot.bytes].reshape(*slot.kept, 3)
        if not self._memory[flag]:
            image, source = _decode(path, slot)
            if image.shape[:2] != slot.kept:
                return image, source
            kept[:] = image
            self._memory[flag] = 1  # after the pixels; two workers at once write the same bytes
        kept.flags.writeable = False
        return kept, slot.source

    def __reduce__(self) -> str:
        raise ValueError("a RAM cache cannot be handed to spawned processes; set data.cache=disk or data.workers=0")


class DiskCache:
    """One raw file an image, named after the state of its source; processes share them in the page cache."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._slots, self.summary, self._folder, self._full = plan.slots, plan.summary, folder, False
        self._remove_stale()

    def read(self, path: Path) -> tuple[np.ndarray, tuple[int, int]]:
        """The image (uint8 [h, w, 3] RGB, read-only if cached) and the (height, width) of its file."""
        slot = self._slots[path]
        if not slot.fits:
            return _decode(path, slot)
        file = self._folder / _file_name(path, slot, _stamp(path))
        try:
            if file.stat().st_size == slot.bytes:
                return np.asarray(np.memmap(file, np.uint8, "r", shape=(*slot.kept, 3))), slot.source
        except FileNotFoundError:
            pass
        image, source = _decode(path, slot)
        if image.shape[:2] == slot.kept and not self._full:
            self._keep(image, file)
        return image, source

    def _keep(self, image: np.ndarray, file: Path) -> None:
        try:
            write_bytes(file, image.tobytes())
        except OSError as error:
            self._full = True
            log.warning("image cache: %s cannot be written (%s); frames are decoded every time", file, error.strerror)

    def _remove_stale(self) -> None:
        """Delete what was kept of earlier states of these images, and parts a killed process left."""
        wanted = {
            _owner(path): _file_name(path, slot, slot.stamp) if slot.fits else None
            for path, slot in self._slots.items()
        }
        for entry in os.scandir(self._folder):
            abandoned = entry.name.endswith(".part") and time.time() - entry.stat().st_mtime > 3600
            if abandoned or (
                entry.name.endswith(".rgb") and wanted.get(_owner_of(entry.name), entry.name) != entry.name
            ):
                Path(entry.path).unlink(missing_ok=True)


def _room(folder: Path, paths: Sequence[Path]) -> float:
    """Bytes these images may take on this disk: what is free, less a little for others, and what they take already."""
    owners = {_owner(path) for path in paths}
    held = sum(entry.stat().st_size for entry in os.scandir(folder) if _owner_of(entry.name) in owners)
    return held + shutil.disk_usage(folder).free * 0.95


def _stamp(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


def _file_name(path: Path, slot: Slot, stamp: tuple[int, int]) -> str:
    """frame-folder-size-mtime-bytes.rgb: a changed source has another name."""
    return f"{_owner(path)}-{slot.kept[1]}x{slot.kept[0]}-{stamp[0]:x}-{stamp[1]:x}.rgb"


def _owner(path: Path) -> str:
    """frame-folder: which image a cached file is of, so that datasets may share a cache folder."""
    return f"{path.stem}-{zlib.crc32(os.fsencode(path.absolute().parent)):08x}"


def _owner_of(name: str) -> str:
    return name.rsplit("-", 3)[0]


def _decode(path: Path, slot: Slot) -> tuple[np.ndarray, tuple[int, int]]:
    image = read_image(path)
    source = (image.shape[0], image.shape[1])
    if source != slot.source or slot.kept == slot.source:
        return image, source
    return resize(image, fit(source, slot.kept, "stretch")), source
