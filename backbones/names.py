"""The names of placements, coverages and stems. No torch, as settings are made of them."""

from __future__ import annotations

from typing import Literal, get_args

Placement = Literal["all", "first", "last"]  # which blocks of a stage carry a module (the paper's Table 2)
Coverage = Literal["0,0", "1,1", "1,N", "i-1,1", "i-1,N"]  # "S,N'" of equation (5) (the paper's Table 3)
Stem = Literal["imagenet", "small"]  # 7x7 of stride 2 and a max-pool, or 3x3 of stride 1 for pictures of 32 or 64 px

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
COVERAGES: tuple[Coverage, ...] = get_args(Coverage)
STEMS: tuple[Stem, ...] = get_args(Stem)
