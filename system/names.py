"""The names a person types: checked once, answered with the nearest valid one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def check_name(what: str, name: object, valid: Iterable[str]) -> str:
    """Return `name` if it is one of `valid`; else raise a one-line ValueError with the valid names and the nearest."""
    valid = tuple(valid)
    if isinstance(name, str) and name in valid:
        return name
    by_lower_case = {v.lower(): v for v in valid}
    nearest = get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.0)[0]
    raise ValueError(f"unknown {what} {name!r}: did you mean {by_lower_case[nearest]!r}? Valid: {' | '.join(valid)}")
