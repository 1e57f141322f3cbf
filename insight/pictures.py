"""Pictures of this room, each as NAME-light.png and NAME-dark.png."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from system.charts import Theme, draw
from system.files import write_bytes

Drawing = Callable[[Theme], Figure]


def write(folder: Path, name: str, drawing: Drawing) -> list[Path]:
    """Draws for light and for dark surroundings. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for theme, png in draw(lambda theme: _coloured(drawing, theme)).items():
        written.append(folder / f"{name}-{theme}.png")
        write_bytes(written[-1], png)
    return written


def _coloured(drawing: Drawing, theme: Theme) -> Figure:
    with matplotlib.rc_context(_style(theme)):
        return drawing(theme)


def _style(theme: Theme) -> Any:
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")
    style: dict[str, Any] = {
        **dict.fromkeys(ink, theme.ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), theme.paper),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), theme.faint),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        **dict.fromkeys(("axes.grid", "axes.axisbelow", "figure.constrained_layout.use"), True),
        "font.size": 9,
    }
    return style
