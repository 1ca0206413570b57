"""Admission: decides whether a job is accepted, and when an accepted job starts.

It compares numbers of jobs, pixels and estimated seconds. At most `length` jobs are inside at once, and by estimate all
of them end in time. The jobs that have started hold at most `memory_pixels` together, unless only one has started. Jobs
start in the order in which they came.

`Admission.enter` returns why a job is refused. `Engine.reconstruct` then raises `QueueFullError` (no place) or
`BacklogError` (no time), and `bbmr_server.http.problems` answers either with the status 429.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

SAFE = 0.8
"""Share of the time limit that the accepted jobs may fill, by estimate. This share is the usable time."""
LARGE = 0.5
"""A job is large if its estimate is above this share of the usable time. At most one large job is inside."""
BESIDE = 0.25
"""Share of the usable time that other jobs may always fill while a large job is inside. So a large job does not keep
out small ones. All jobs still end in time, because 0.8 · (1 + 0.25) is the whole limit."""


class SizedJob(Protocol):
    """The part of a job that admission uses.

    Attributes:
        pixels: how many the job holds in memory once it is started.
        left_s: estimated seconds until it is done.
    """

    pixels: int

    @property
    def left_s(self) -> float: ...


J = TypeVar("J", bound=SizedJob)
Refused = Literal["", "places", "time"]
"""Why a job was not accepted: no place is free, or no time is left. Empty if it was accepted."""


class Admission(Generic[J]):
    """The jobs inside an engine. Any thread may use it."""

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
        """Estimated seconds until everything inside is done."""
        return sum(job.left_s for job in self.inside())

    def wait_s(self, job: J, within_s: float) -> float:
        """Returns the estimated seconds until there is time for the job; 0 if there is time now.

        A job whose own estimate is above the limit is accepted too, unless another large job is inside: only running it
        shows how long it really takes.
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
        """Accept a job if a place is free and there is time for it beside the others.

        A job that is alone is always accepted.

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
        """Returns the jobs for which there is memory now. They count as started, so each is returned once."""
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
        """Remove a job that has not started. Returns False if it has started or is not inside."""
        with self._lock:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            self._gone(job)
            return True

    def leave(self, job: J) -> None:
        """Remove a started job and free its memory. Does nothing a second time."""
        with self._lock:
            if job in self._started:
                self._started.remove(job)
                self._pixels -= job.pixels
                self._gone(job)

    def inside(self) -> list[J]:
        """Every accepted job that is not finished."""
        with self._lock:
            return [*self._waiting, *self._started]

    def wait_until_empty(self, timeout: float, but: Callable[[J], bool] = lambda job: False) -> bool:
        """Block until no job is inside except those for which `but` is true. Returns False after `timeout` seconds.

        `but` is called again whenever a job has left, and after `look_again`.
        """
        with self._changed:
            return self._changed.wait_for(lambda: all(map(but, self.inside())), timeout)

    def look_again(self) -> None:
        """Make `wait_until_empty` call `but` again."""
        with self._changed:
            self._changed.notify_all()

    def _gone(self, job: J) -> None:
        if job is self._large:
            self._large = None
        self._changed.notify_all()
