"""The learning rate over a run: warm-up, a stable part, and a decay at the end of a call."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """The fields of a training configuration that decide the learning rate.

    Attributes:
        learning_rate: the learning rate between warm-up and decay.
        warmup: steps in which it rises; 0 for none.
        decay_share: share of the call in which it falls to zero; 0 for none.
    """

    @property
    def learning_rate(self) -> float: ...

    @property
    def warmup(self) -> int: ...

    @property
    def decay_share(self) -> float: ...


def learning_rate_at(schedule: Schedule, step: int, share: float) -> float:
    """Return the learning rate at `step`, when `share` (0 … 1) of the call is over.

    It rises over the first `warmup` steps, is then constant, and falls to zero over the last `decay_share`.
    """
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    left = min(1.0, (1 - share) / schedule.decay_share) if schedule.decay_share else 1.0
    return schedule.learning_rate * warm * left
