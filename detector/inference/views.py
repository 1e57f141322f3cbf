"""The views of an image that can be asked for beside the plain one. Light, as every command line reads it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

HALF, MIRROR = VIEWS = ("half", "mirror")
HELP = "look again and take the mean: half (the size), mirror, both, or none (default: half with kitti, else none)"


def check_views(names: Sequence[str]) -> None:
    for name in names:
        if name not in VIEWS:
            raise ValueError(f"view {name!r}: expected {' or '.join(VIEWS)}")


def views_argument(text: str) -> tuple[str, ...]:
    """`half,mirror`, or `none`."""
    names = () if text.strip() == "none" else tuple(part.strip() for part in text.split(","))
    try:
        check_views(names)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{fault}, both with a comma, or none") from None
    return names
