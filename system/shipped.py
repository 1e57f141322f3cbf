"""What comes with the project beside its code, a folder `configs` for example: in a checkout, and once installed."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parents[1]  # of a checkout, or site-packages
_DOORS = _HERE / "kitti_attention_detector"  # where setup.py puts them, with what lies beside them
IS_INSTALLED = _DOORS.is_dir()


def shipped(folder: str) -> Path:
    """Where that folder of the repository's top level lies."""
    return (_DOORS if IS_INSTALLED else _HERE) / folder
