"""What follows from the step or the epoch alone, so that a resumed run needs no state for it: phase, learning rate, EMA
decay."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.config import RunConfig


class Schedule:
    """The phases of a run laid end to end: the phase of every epoch, and what that makes of steps, rate and time."""

    def __init__(self, config: RunConfig, steps_of_phase: Sequence[int]) -> None:
        self.phases, self.settings, self.steps_of_phase = config.phases, config.optimizer, steps_of_phase
        self.phase_of_epoch = [k for k, phase in enumerate(config.phases) for _ in range(phase.epochs)]
        self.epochs = len(self.phase_of_epoch)
        self.total_steps = sum(steps_of_phase[k] for k in self.phase_of_epoch)
        self.warmup_steps = round(self.settings.warmup_epochs * steps_of_phase[0])

    def lr(self, step: int) -> float:
        return poly_lr(step, self.total_steps, self.warmup_steps, self.settings.lr, self.settings.power)

    def seconds_left(self, epoch: int, seconds: float) -> float:
        """For the epochs after this one, each as long in proportion to its pixels: phases differ tenfold."""
        pixels = [math.prod(self.phases[k].height_width) for k in self.phase_of_epoch]
        return seconds * sum(pixels[epoch + 1 :]) / pixels[epoch]


def poly_lr(step: int, total: int, warmup: int, base: float, power: float) -> float:
    """lr(t) = base * (1 - t/T)^power, after a linear rise over the first `warmup` steps."""
    decayed = base * (1.0 - step / total) ** power
    return decayed * min(1.0, (step + 1) / warmup) if warmup else decayed


def ema_decay(updates: int, decay: float, ramp: float = 500.0) -> float:
    """Short memory at first, so that the average does not hold on to the random start; `decay` after a few `ramp`s."""
    return decay * (1.0 - math.exp(-updates / ramp))
