"""Folders of KITTI label and result files, one a frame, as columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from data.formats.kitti import Label, read_labels
from detector.evaluation.columns import Columns, ResultError, join


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

    def labels_of(frame: str) -> list[Label]:
        try:
            return read_labels(os.path.join(folder, f"{frame}.txt"), scored)
        except FileNotFoundError:
            if not allow_missing:
                raise ResultError(_missing_message(str(folder), frames)) from None
            return []

    return join(frames, map(labels_of, frames), scored)


def _missing_message(folder: str, frames: Sequence[str]) -> str:
    missing = [frame for frame in frames if not os.path.exists(os.path.join(folder, f"{frame}.txt"))]
    named = ", ".join(f"{frame}.txt" for frame in missing[:3]) + (", ..." if len(missing) > 3 else "")
    count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
    return (
        f"{folder}: {count} missing ({named}); write an empty file for a frame without objects, "
        "score fewer frames with --split, or count missing files as empty with --allow-missing"
    )
