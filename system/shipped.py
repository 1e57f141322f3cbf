"""What comes with the project beside its code, a folder `configs` for example: in a checkout, and once installed."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parents[1]  # of a checkout, or site-packages


def shipped(folder: str) -> Path:
    """Where that folder of the repository's top level lies. setup.py puts it beside the installed doors."""
    installed = _HERE / "kitti_attention_detector" / folder
    return installed if installed.is_dir() else _HERE / folder
