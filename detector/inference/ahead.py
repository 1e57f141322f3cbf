"""Calls that run beside each other, and their results one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_order(begun: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """What each begun call gives when it is waited for. `ahead` calls are begun before the first is."""
    waiting: deque[Callable[[], T]] = deque()
    for call in begun:
        waiting.append(call)
        if len(waiting) == ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
