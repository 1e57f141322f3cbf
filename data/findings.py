"""How a doctor's findings look on a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

from data.annotation import Problem
from system.command import visible

SHOWN = 5  # problems of a kind, unless --all
WIDTH = 80


def listed(problems: Sequence[Problem], shown: int | None = SHOWN) -> list[str]:
    """Lines: `shown` problems of each kind (None: all), and how many there are."""
    by_kind: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    lines = []
    for kind, alike in by_kind.items():
        lines.append(f"{kind}: {len(alike):,}")
        for problem in alike[:shown]:
            lines += textwrap.wrap(
                visible(str(problem)), WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
            )
        if len(alike) > len(alike[:shown]):
            lines.append(f"  ... and {len(alike) - len(alike[:shown]):,} more (--all shows them)")
        lines.append("")
    return [*lines, f"Problems found: {len(problems):,}" if problems else "No problems found."]


def bars(counts: Mapping[str, int]) -> list[str]:
    """A line for each: name, count, and a bar as long as its share of the largest."""
    name_width, largest = max(map(len, counts), default=0), max(counts.values(), default=0)
    number_width = len(f"{largest:,}")
    room = WIDTH - 2 - name_width - 2 - number_width - 2
    drawn = ("#" * (-(-count * room // largest) if largest else 0) for count in counts.values())
    rows = zip(counts.items(), drawn, strict=True)
    return [f"  {name:<{name_width}}  {n:>{number_width},}  {bar}".rstrip() for (name, n), bar in rows]
