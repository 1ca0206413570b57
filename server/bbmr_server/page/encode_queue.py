"""The desk: where photos are encoded and measured, off the event loop, a bounded number at a time.

In: work as functions. Out: their results. A place is taken when the body is there, so nobody holds one by sending
slowly, and given back when the work has really ended: a thread cannot be stopped from outside, so long work asks
whether it was given up.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from bbmr_server.errors import NotReadyError, QueueFullError, wait_for

NICE = 10
"""Of the threads at the desk, where threads have that: the event loop and the engine go first."""

T = TypeVar("T")
GivenUp = Callable[[], bool]


class GivenUpError(Exception):
    """Raised by work that nobody waits for any more; never answered."""


def go_on(given_up: GivenUp) -> None:
    """Raise `GivenUpError` where the work was given up; called between two steps."""
    if given_up():
        raise GivenUpError


class Desk:
    """One photo at work, `length` requests in all. Methods may be called from any thread."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._unfinished: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._inside = 0
        self._typical_seconds = 1.0

    def __len__(self) -> int:
        return self._inside

    def check_room(self) -> None:
        """Raise `QueueFullError` where all places are taken now."""
        if self._inside >= self.length:
            raise QueueFullError(
                f"all {self.length} places for photos are taken; try again later",
                retry_after=wait_for(self._typical_seconds * self._inside / 2),
            )

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one request. Raises `QueueFullError` where all are taken."""
        with self._lock:
            self.check_room()
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
        """Have `work` done in the thread. Raises `NotReadyError` once the desk is closed.

        Work that is cancelled before its turn is let go at once, with the photo it holds.
        """
        future: Future[T] = Future()
        held = [work]
        del work

        def task() -> None:
            if future.done() or not future.set_running_or_notify_cancel():
                return
            with suppress(InvalidStateError):  # it was refused meanwhile
                try:
                    future.set_result(self._timed(held.pop(), given_up))
                except BaseException as error:
                    future.set_exception(error)

        with self._lock:
            if self._closed:
                raise _stopping()
            self._unfinished.add(future)
            future.add_done_callback(self._unfinished.discard)
            future.add_done_callback(lambda _: held.clear())
            self._tasks.put(task)
            if self._thread is None:
                # A daemon: a process that has to end does not wait for the last step of a photo.
                self._thread = threading.Thread(target=self._run, name="bbmr-desk", daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """Take nothing more; what nobody has given up by now is still done, while the process lives."""
        with self._lock:
            self._closed = True
        self._tasks.put(None)

    def refuse_all(self) -> None:
        """Take nothing more, and refuse what is inside: nobody waits for it any longer."""
        with self._lock:
            self._closed = True
        for future in list(self._unfinished):
            with suppress(InvalidStateError):
                future.set_exception(_stopping())

    def _run(self) -> None:
        _stand_back()
        while (task := self._tasks.get()) is not None:
            task()

    def _timed(self, work: Callable[[GivenUp], T], given_up: GivenUp) -> T:
        go_on(given_up)
        began = time.monotonic()
        result = work(given_up)
        self._typical_seconds += 0.2 * (time.monotonic() - began - self._typical_seconds)
        return result

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


def _stopping() -> NotReadyError:
    return NotReadyError("the server is stopping; try another or come back later")


def _stand_back() -> None:
    if sys.platform == "linux":  # elsewhere this would be about the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


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
