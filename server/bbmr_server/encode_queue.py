"""The queue of photos to encode and measure: one thread outside the event loop does the work, a bounded number waits.

A request takes its slot when its body has arrived, so a slow upload holds none. The slot is free again when the work
has really ended. A thread cannot be stopped from outside, so long work calls `check_cancelled` between its steps.
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
"""Niceness of the thread, where threads have one of their own: the event loop and the engine go first."""

T = TypeVar("T")
IsCancelled = Callable[[], bool]


class WorkCancelledError(Exception):
    """Raised by work whose result nobody waits for. It never reaches a client."""


def check_cancelled(cancelled: IsCancelled) -> None:
    """Raises `WorkCancelledError` if the work was cancelled. Work calls it between two steps."""
    if cancelled():
        raise WorkCancelledError


class EncodeQueue:
    """`length` requests in all, one of them at work. Methods may be called from any thread."""

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
        """Raises `QueueFullError` if all slots are taken."""
        if self._inside >= self.length:
            raise QueueFullError(
                f"all {self.length} places for photos are taken; try again later",
                retry_after=wait_for(self._typical_seconds * self._inside / 2),
            )

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """A slot for one request. Raises `QueueFullError` if all are taken."""
        with self._lock:
            self.check_room()
            self._inside += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            if slot.last is None:
                self._leave()
            else:
                slot.last.add_done_callback(lambda _: self._leave())

    def submit(self, work: Callable[[IsCancelled], T], cancelled: IsCancelled) -> Future[T]:
        """Hands `work` to the thread. Raises `NotReadyError` if the queue is closed.

        Work that is cancelled before its turn is released at once, together with the photo that it holds.
        """
        future: Future[T] = Future()
        held = [work]
        del work

        def task() -> None:
            if future.done() or not future.set_running_or_notify_cancel():
                return
            with suppress(InvalidStateError):  # `refuse_all` may have set the result meanwhile
                try:
                    future.set_result(self._timed(held.pop(), cancelled))
                except BaseException as error:
                    future.set_exception(error)

        with self._lock:
            if self._closed:
                raise _stopping()
            self._unfinished.add(future)
            future.add_done_callback(self._unfinished.discard)
            future.add_done_callback(lambda _: held.clear())
            self._tasks.put(task)
            self._start_thread()
        return future

    def close(self) -> None:
        """Accepts no more work. Work that is inside and not cancelled is still done, while the process lives."""
        with self._lock:
            self._closed = True
        self._tasks.put(None)

    def refuse_all(self) -> None:
        """Accepts no more work, and refuses what is inside."""
        with self._lock:
            self._closed = True
        for future in list(self._unfinished):
            with suppress(InvalidStateError):
                future.set_exception(_stopping())

    def _start_thread(self) -> None:
        if self._thread is None:
            # A daemon: a process that has to end does not wait for the last step of a photo.
            self._thread = threading.Thread(target=self._run, name="bbmr-encode", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        _lower_priority()
        while (task := self._tasks.get()) is not None:
            task()

    def _timed(self, work: Callable[[IsCancelled], T], cancelled: IsCancelled) -> T:
        check_cancelled(cancelled)
        began = time.monotonic()
        result = work(cancelled)
        self._typical_seconds += 0.2 * (time.monotonic() - began - self._typical_seconds)
        return result

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


def _stopping() -> NotReadyError:
    return NotReadyError("the server is stopping; try another or come back later")


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere the call would change the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class Slot:
    """One request's slot in the queue."""

    def __init__(self, queue: EncodeQueue) -> None:
        self._queue = queue
        self.last: Future[object] | None = None

    async def run(self, work: Callable[[IsCancelled], T]) -> T:
        """Returns or raises what `work` does. Cancelling the call cancels the work. One piece of work at a time."""
        cancelled = threading.Event()
        future = self._queue.submit(work, cancelled.is_set)
        self.last = future  # type: ignore[assignment]
        try:
            return await asyncio.wrap_future(future)
        finally:
            cancelled.set()
