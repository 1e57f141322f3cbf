"""Objects of many frames as columns, from folders of KITTI files or from `Label`s: what the evaluators compute on."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.formats.kitti import CLASSES, DONT_CARE, Label, LabelError, parse_label
from detector.evaluation.number_text import IrregularText, parse_rows

NAMES = (*CLASSES, DONT_CARE)
_CODES = {name.lower(): code for code, name in enumerate(NAMES)}  # KITTI compares class names without case
CHUNK_BYTES = 1 << 20  # text parsed at once: large enough to amortise array calls, small enough to stay in the cache
LABEL_FIELDS, RESULT_FIELDS = 15, 16


class ResultError(ValueError):
    """Results that do not fit the labels; the message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """n objects of all frames: frame after frame, in file order within a frame."""

    frames: tuple[str, ...]
    frame: NDArray[np.intp]  # [n] index into frames, ascending
    name: NDArray[np.intp]  # [n] index into NAMES
    boxes: NDArray[np.float64]  # [n, 4] x1 y1 x2 y2
    truncation: NDArray[np.float64]  # [n]
    occlusion: NDArray[np.float64]  # [n]
    scores: NDArray[np.float64]  # [n], nan for objects without a score

    def __len__(self) -> int:
        return len(self.frame)

    def named(self, *names: str) -> NDArray[np.bool_]:
        """[n] whether the object is of one of these classes."""
        return np.array([name in names for name in NAMES], np.bool_)[self.name]

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Columns:
        """The rows of a mask, or of ascending indices."""
        return Columns(
            self.frames,
            self.frame[rows],
            self.name[rows],
            self.boxes[rows],
            self.truncation[rows],
            self.occlusion[rows],
            self.scores[rows],
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some files' objects before all are joined: frame and name [n]; truncation, occlusion, box and score as [7, n]."""

    frame: NDArray[np.intp]
    name: NDArray[np.intp]
    values: NDArray[np.float64]


def from_labels(labels: Mapping[str, Sequence[Label]], frames: Sequence[str], scored: bool) -> Columns:
    """Columns of labels in memory. A frame that `labels` lacks has no objects; frames not listed are left out."""
    per_frame = [labels.get(frame, ()) for frame in frames]
    if scored:
        for frame, objects in zip(frames, per_frame, strict=True):
            for label in objects:
                _check_score(label, f"frame {frame}")
    return _join(frames, [_rows(per_frame, 0)])


def frames_of(folder: str | Path) -> tuple[str, ...]:
    """The frames a folder of KITTI label or result files is about: its .txt files without the ending, sorted."""
    try:
        frames = sorted(entry[:-4] for entry in os.listdir(folder) if entry.endswith(".txt"))
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ResultError(f"{folder}: {reason}; give a folder of KITTI label files, one .txt a frame") from error
    if not frames:
        raise ResultError(f"{folder}: no .txt file in it; give a folder of KITTI label files, one a frame")
    return tuple(frames)


def read_folder(folder: str | Path, frames: Sequence[str], scored: bool, allow_missing: bool = False) -> Columns:
    """Columns of `folder/<frame>.txt`. With `allow_missing` a frame without a file has no objects.

    Raises ResultError for missing files, and data.formats.kitti's LabelError (file, line, what is wrong).
    """
    texts = _texts(str(folder), frames, allow_missing)
    fields = RESULT_FIELDS if scored else LABEL_FIELDS
    return _join(frames, [_parse(str(folder), frames, first, chunk, fields) for first, chunk in _chunks(texts)])


def _texts(folder: str, frames: Sequence[str], allow_missing: bool) -> Iterator[bytes]:
    """The content of each frame's file. Raw descriptors: half the time of a file object, and there may be 40,000."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    for index, frame in enumerate(frames):
        try:
            descriptor = os.open(f"{folder}{os.sep}{frame}.txt", flags)
        except FileNotFoundError:
            if not allow_missing:
                raise ResultError(_missing_message(folder, frames[index:])) from None
            yield b""
            continue
        try:
            blocks = [os.read(descriptor, CHUNK_BYTES >> 4)]
            while blocks[-1]:
                blocks.append(os.read(descriptor, CHUNK_BYTES >> 4))
        finally:
            os.close(descriptor)
        yield b"".join(blocks)


def _missing_message(folder: str, frames: Sequence[str]) -> str:
    missing = [frame for frame in frames if not os.path.exists(os.path.join(folder, f"{frame}.txt"))]
    named = ", ".join(f"{frame}.txt" for frame in missing[:3]) + (", ..." if len(missing) > 3 else "")
    count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
    return (
        f"{folder}: {count} missing ({named}); write an empty file for a frame without objects, "
        "score fewer frames with --split, or count missing files as empty with --allow-missing"
    )


def _chunks(texts: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Consecutive texts of about CHUNK_BYTES together, with the index of the first."""
    first, size = 0, 0
    chunk: list[bytes] = []
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size > CHUNK_BYTES:
            yield first, chunk
            first, size, chunk = first + len(chunk), 0, []
    yield first, chunk


def _parse(folder: str, frames: Sequence[str], first: int, chunk: list[bytes], fields: int) -> _Rows:
    """The rows of some files at once; line by line where the text is unusual or wrong, for the exact message."""
    try:
        names, values, starts = parse_rows(b"\n".join(chunk), fields)
        name = _name_codes(names)
        if not np.isfinite(values).all() or (values[1] != np.floor(values[1])).any():
            raise IrregularText
    except IrregularText:
        paths = [os.path.join(folder, f"{frame}.txt") for frame in frames[first : first + len(chunk)]]
        scored = fields == RESULT_FIELDS
        return _rows([_parse_lines(text, path, scored) for text, path in zip(chunk, paths, strict=True)], first)
    file_starts = np.cumsum([0] + [len(text) + 1 for text in chunk])
    frame = np.repeat(np.arange(first, first + len(chunk)), np.diff(np.searchsorted(starts, file_starts)))
    scores = values[14:] if fields == RESULT_FIELDS else np.full((1, len(frame)), np.nan)
    return _Rows(frame, name, np.concatenate((values[0:2], values[3:7], scores)))


def _name_codes(names: NDArray[np.bytes_]) -> NDArray[np.intp]:
    distinct, inverse = np.unique(names, return_inverse=True)
    codes = [_CODES.get(name.decode("latin-1").lower()) for name in distinct.tolist()]
    if None in codes:
        raise IrregularText
    return np.array(codes, np.intp)[inverse]


def _parse_lines(text: bytes, path: str, scored: bool) -> list[Label]:
    labels = []
    for number, line in enumerate(io.StringIO(text.decode("utf-8-sig", errors="replace"), newline=None), 1):
        if not line.isspace():
            labels.append(parse_label(line, f"{path}:{number}"))
            if scored:
                _check_score(labels[-1], f"{path}:{number}")
    return labels


def _check_score(label: Label, where: str) -> None:
    if label.score is None:
        raise LabelError(f"{where}: found no score, expected a 16th field with the score of the detection")
    if not np.isfinite(label.score):
        raise LabelError(f"{where}: score is {label.score}, expected a finite number")


def _rows(per_frame: Sequence[Sequence[Label]], first: int) -> _Rows:
    labels = list(chain.from_iterable(per_frame))
    values = [
        (label.truncation, label.occlusion, *label.box, np.nan if label.score is None else label.score)
        for label in labels
    ]
    return _Rows(
        np.repeat(np.arange(first, first + len(per_frame)), [len(objects) for objects in per_frame]),
        np.array([_CODES[label.name.lower()] for label in labels], np.intp),
        np.array(values, np.float64).reshape(-1, 7).T,
    )


def _join(frames: Sequence[str], parts: Sequence[_Rows]) -> Columns:
    values = np.concatenate([part.values for part in parts], axis=1)
    return Columns(
        frames=tuple(frames),
        frame=np.concatenate([part.frame for part in parts]),
        name=np.concatenate([part.name for part in parts]),
        boxes=values[2:6].T,
        truncation=values[0],
        occlusion=values[1],
        scores=values[6],
    )
