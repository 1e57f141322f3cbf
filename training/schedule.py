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
        self.milestone_steps = [
            sum(steps_of_phase[k] for k in self.phase_of_epoch[:epoch]) for epoch in self.settings.milestones
        ]

    def lr(self, step: int) -> float:
        """Of this step: the decay times a linear rise over the warm-up."""
        return self.settings.lr * self._decay(step) * warm_up(step, self.warmup_steps)

    def _decay(self, step: int) -> float:
        if self.settings.schedule == "steps":
            return steps_decay(step, self.milestone_steps, self.settings.gamma)
        if self.settings.schedule == "cosine":
            return cosine_decay(step, self.total_steps)
        return poly_decay(step, self.total_steps, self.settings.power)

    def seconds_left(self, epoch: int, seconds: float) -> float:
        """For the epochs after this one, each as long in proportion to its pixels: phases differ tenfold."""
        pixels = [math.prod(self.phases[k].height_width) for k in self.phase_of_epoch]
        return seconds * sum(pixels[epoch + 1 :]) / pixels[epoch]


def warm_up(step: int, steps: int) -> float:
    """A linear rise to 1 over the first `steps`."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


def poly_decay(step: int, total: int, power: float) -> float:
    """(1 - t/T)^power"""
    return (1.0 - step / total) ** power


def cosine_decay(step: int, total: int) -> float:
    """(1 + cos(pi t/T)) / 2, Loshchilov and Hutter 2017"""
    return 0.5 * (1.0 + math.cos(math.pi * step / total))


def steps_decay(step: int, milestones: Sequence[int], gamma: float) -> float:
    """gamma^k, with k of the milestones behind"""
    return float(gamma ** sum(step >= milestone for milestone in milestones))


def ema_decay(updates: int, decay: float, ramp: float = 500.0) -> float:
    """Short memory at first, so that the average does not hold on to the random start; `decay` after a few `ramp`s."""
    return decay * (1.0 - math.exp(-updates / ramp))
