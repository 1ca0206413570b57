"""Places: who has been accepted, who waits, and who holds memory. Counts only; knows nothing of pictures.

Guarantees: at most `length` jobs are inside at once; those that were started hold `memory_pixels` together, or
there is only one of them; jobs start in the order in which they came. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What a job must tell: the pixels it holds in memory once started."""

    pixels: int


J = TypeVar("J", bound=Sized)


class Places(Generic[J]):
    """The bounded waiting room of an engine."""

    def __init__(self, length: int, memory_pixels: int) -> None:
        self.length = length
        self.memory_pixels = memory_pixels
        self._lock = threading.RLock()
        self._empty = threading.Condition(self._lock)
        self._waiting: deque[J] = deque()
        self._started: set[J] = set()
        self._pixels = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._started)

    @property
    def waiting(self) -> int:
        """Jobs accepted and not started."""
        return len(self._waiting)

    def enter(self, job: J) -> bool:
        """Take a place; False where there is none."""
        with self._lock:
            if len(self) >= self.length:
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
            self._tell()
            return True

    def leave(self, job: J) -> None:
        """A started job gives its place and memory back. Does nothing a second time."""
        with self._lock:
            if job in self._started:
                self._started.remove(job)
                self._pixels -= job.pixels
                self._tell()

    def inside(self) -> list[J]:
        """Every job that has a place."""
        with self._lock:
            return [*self._waiting, *self._started]

    def wait_until_empty(self, timeout: float) -> bool:
        """Block until nobody is inside, for at most `timeout` seconds; whether it came so."""
        with self._empty:
            return self._empty.wait_for(lambda: len(self) == 0, timeout)

    def _tell(self) -> None:
        if not self:
            self._empty.notify_all()
