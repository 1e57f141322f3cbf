"""The learning rate and the EMA decay as pure functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math


def poly_lr(step: int, total: int, warmup: int, base: float, power: float) -> float:
    """lr(t) = base * (1 - t/T)^power, after a linear rise over the first `warmup` steps."""
    decayed = base * (1.0 - step / total) ** power
    return decayed * min(1.0, (step + 1) / warmup) if warmup else decayed


def ema_decay(updates: int, decay: float, ramp: float = 500.0) -> float:
    """Short memory at first, so that the average does not hold on to the random start; `decay` after a few `ramp`s."""
    return decay * (1.0 - math.exp(-updates / ramp))
