"""The names of placements and coverages."""

from __future__ import annotations

from typing import Literal, get_args

Placement = Literal["all", "first", "last"]  # which blocks of a stage carry a module (the paper's Table 2)
Coverage = Literal["0,0", "1,1", "1,N", "i-1,1", "i-1,N"]  # "S,N'" of equation (5) (the paper's Table 3)

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
COVERAGES: tuple[Coverage, ...] = get_args(Coverage)
