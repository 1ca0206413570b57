"""Places: who has been accepted, who waits, and who holds memory. Counts only; knows nothing of pictures.

Guarantees: at most `length` jobs are inside at once, and no more than can be done in time, as far as can be told; those
that were started hold `memory_pixels` together, or there is only one of them; jobs start in the order in which they
came. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

SAFE = 0.8
"""Share of the time that there is in which everything must be done, as far as can be told."""
LARGE = 0.5
"""Share of that from which on a job is a large one; there is one at a time."""
BESIDE = 0.25
"""Share of that which the others have beside a large one: it keeps nobody out, and all still ends in time."""


class Sized(Protocol):
    """What a job must tell.

    Attributes:
        pixels: those it holds in memory once started.
        left_s: seconds that what is left of it takes, as far as can be told.
    """

    pixels: int

    @property
    def left_s(self) -> float: ...


J = TypeVar("J", bound=Sized)
Refused = Literal["", "places", "time"]
"""Why a job got no place; empty where it got one."""


class Places(Generic[J]):
    """The bounded waiting room of an engine."""

    def __init__(self, length: int, memory_pixels: int) -> None:
        self.length = length
        self.memory_pixels = memory_pixels
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[J] = deque()
        self._started: set[J] = set()
        self._large: J | None = None
        self._pixels = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._started)

    @property
    def waiting(self) -> int:
        """Jobs accepted and not started."""
        return len(self._waiting)

    @property
    def left_s(self) -> float:
        """Seconds that what is inside will take, as far as can be told."""
        return sum(job.left_s for job in self.inside())

    def wait_s(self, job: J, within_s: float) -> float:
        """Seconds until `enter` will no more say "time", as far as can be told; 0 where it would not now.

        A job that takes longer than there is time even alone is let in beside anything but another large one: how long
        it takes is found out by doing it.
        """
        with self._lock:
            most, own, large = SAFE * within_s, job.left_s, self._large
            others = sum(other.left_s for other in self.inside() if other is not large)
            if own <= LARGE * most:
                room = most if large is None else max(most - large.left_s, BESIDE * most)
                return max(0.0, others + own - room)
            if large is not None:
                return max(large.left_s, 1.0)
            return 0.0 if own > most else max(0.0, others - max(most - own, BESIDE * most))

    def enter(self, job: J, within_s: float = float("inf")) -> Refused:
        """Take a place, where there is one and time for the job beside the others. One that is alone is always taken.

        Args:
            within_s: seconds in which it must be done together with what is inside.
        """
        with self._lock:
            if len(self) >= self.length:
                return "places"
            if len(self) and self.wait_s(job, within_s) > 0:
                return "time"
            if self._large is None and job.left_s > LARGE * SAFE * within_s:
                self._large = job
            self._waiting.append(job)
            return ""

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
            self._gone(job)
            return True

    def leave(self, job: J) -> None:
        """A started job gives its place and memory back. Does nothing a second time."""
        with self._lock:
            if job in self._started:
                self._started.remove(job)
                self._pixels -= job.pixels
                self._gone(job)

    def inside(self) -> list[J]:
        """Every job that has a place."""
        with self._lock:
            return [*self._waiting, *self._started]

    def wait_until_empty(self, timeout: float, but: Callable[[J], bool] = lambda job: False) -> bool:
        """Block until nobody is inside but jobs of which `but` is true, for at most `timeout` seconds; whether it
        came so. `but` is asked again when a job has left, and by `look_again`."""
        with self._changed:
            return self._changed.wait_for(lambda: all(map(but, self.inside())), timeout)

    def look_again(self) -> None:
        """Have `wait_until_empty` ask its question again."""
        with self._changed:
            self._changed.notify_all()

    def _gone(self, job: J) -> None:
        if job is self._large:
            self._large = None
        self._changed.notify_all()
