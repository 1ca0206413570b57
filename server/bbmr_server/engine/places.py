"""Places: who has been accepted, who waits, and who holds memory. Counts only; knows nothing of pictures.

Guarantees: at most `length` jobs are inside at once, and no more than can be done in the time that each of them has;
those that were started hold `memory_pixels` together, or there is only one of them; jobs start in the order in which
they came. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .pace import Pace

SAFE = 0.8
"""Share of the time that a job has in which it and all before it must be done, as far as can be told."""


class Sized(Protocol):
    """What a job must tell.

    Attributes:
        pixels: those it holds in memory once started.
        cost: what it takes, in the unit of `pace`.
        remaining: the part of `cost` that is not done yet.
    """

    pixels: int
    cost: float

    @property
    def remaining(self) -> float: ...


J = TypeVar("J", bound=Sized)


class Places(Generic[J]):
    """The bounded waiting room of an engine."""

    def __init__(self, length: int, memory_pixels: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.length = length
        self.memory_pixels = memory_pixels
        self._clock = clock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[J] = deque()
        self._started: set[J] = set()
        self._pixels = 0
        self._pace = Pace()
        self._counted = 0.0

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._started)

    @property
    def waiting(self) -> int:
        """Jobs accepted and not started."""
        return len(self._waiting)

    def seconds_for(self, cost: float) -> float:
        """How long work of `cost` takes, as far as can be told."""
        with self._lock:
            return cost * self._pace.seconds_a_unit

    def seconds(self, more: float = 0.0) -> float:
        """How long what is inside will take, and work of the cost `more` beside it, as far as can be told."""
        with self._lock:
            return self.seconds_for(more + sum(job.remaining for job in self.inside()))

    def enter(self, job: J, within_s: float = float("inf")) -> bool:
        """Take a place; False where there is none, or where `job` would not be done in time beside the others.

        One that is alone is always taken: how long it takes is found out by doing it.

        Args:
            within_s: seconds that the job has.
        """
        with self._lock:
            if len(self) >= self.length:
                return False
            if not len(self):
                self._counted = self._clock()
            elif self.seconds(job.cost) > SAFE * within_s:
                return False
            self._waiting.append(job)
            return True

    def start(self) -> list[J]:
        """The jobs that may start now because there is memory for them; each is named once."""
        jobs = []
        with self._lock:
            while self._waiting:
                job = self._waiting[0]
                if self._started and self._pixels + job.pixels > self.memory_pixels:
                    break
                jobs.append(self._waiting.popleft())
                self._started.add(job)
                self._pixels += job.pixels
        return jobs

    def withdraw(self, job: J) -> bool:
        """Let a job go that has not started; False where it has, or is gone already."""
        with self._lock:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            self._changed.notify_all()
            return True

    def leave(self, job: J) -> None:
        """A started job gives its place and memory back. Does nothing a second time."""
        with self._lock:
            if job in self._started:
                self._started.remove(job)
                self._pixels -= job.pixels
                now = self._clock()
                self._pace.add(now - self._counted, job.cost - job.remaining)
                self._counted = now
                self._changed.notify_all()

    def inside(self) -> list[J]:
        """Every job that has a place."""
        with self._lock:
            return [*self._waiting, *self._started]

    def wait_until_empty(self, timeout: float, but: Callable[[J], bool] = lambda job: False) -> bool:
        """Block until nobody is inside but jobs of which `but` is true, for at most `timeout` seconds; whether it
        came so. `but` is asked again whenever a job leaves."""
        with self._changed:
            return self._changed.wait_for(lambda: all(map(but, self.inside())), timeout)
