"""The desk: where photos are encoded and measured, off the event loop, a bounded number at a time.

In: work as functions. Out: their results. A place is taken before the body is read and given back when the work has
really ended: a thread cannot be stopped from outside, so long work asks whether it was given up.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from ..errors import NotReadyError, QueueFullError

T = TypeVar("T")
GivenUp = Callable[[], bool]


class GivenUpError(Exception):
    """Raised by work that nobody waits for any more; never answered."""


def go_on(given_up: GivenUp) -> None:
    """Raise `GivenUpError` where the work was given up; called between two steps."""
    if given_up():
        raise GivenUpError


class Desk:
    """`threads` photos at work, `length` requests in all. Methods may be called from any thread."""

    def __init__(self, length: int, threads: int = 1) -> None:
        self.length = length
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bbmr-desk")
        self._lock = threading.Lock()
        self._inside = 0
        self._typical_seconds = 1.0

    def __len__(self) -> int:
        return self._inside

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one request. Raises `QueueFullError` where all are taken."""
        with self._lock:
            if self._inside >= self.length:
                seconds = math.ceil(self._typical_seconds * self._inside / 2)
                raise QueueFullError(
                    f"all {self.length} places for photos are taken; try again later",
                    retry_after=min(60, max(1, seconds)),
                )
            self._inside += 1
        place = Place(self)
        try:
            yield place
        finally:
            if place.last is None:
                self._leave()
            else:
                place.last.add_done_callback(lambda _: self._leave())

    def submit(self, work: Callable[[GivenUp], T], given_up: GivenUp) -> Future[T]:
        """Have `work` done in a thread. Raises `NotReadyError` once the desk is closed."""
        try:
            return self._pool.submit(self._timed, work, given_up)
        except RuntimeError:
            raise NotReadyError("the server is stopping; try another or come back later") from None

    def close(self) -> None:
        """Take nothing more, and drop what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[GivenUp], T], given_up: GivenUp) -> T:
        go_on(given_up)
        began = time.monotonic()
        result = work(given_up)
        self._typical_seconds += 0.2 * (time.monotonic() - began - self._typical_seconds)
        return result

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


class Place:
    """One request's place at the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.last: Future[object] | None = None

    async def run(self, work: Callable[[GivenUp], T]) -> T:
        """What `work` returns or raises. Cancelling the call gives it up; one piece of work at a time."""
        given_up = threading.Event()
        future = self._desk.submit(work, given_up.is_set)
        self.last = future  # type: ignore[assignment]
        try:
            return await asyncio.wrap_future(future)
        finally:
            given_up.set()
