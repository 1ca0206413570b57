"""Asynchronous work for callers that wait. In: a coroutine function. Out: its result, in the thread that asked.

The event loop runs in a thread of its own, so it can be asked by several threads at once, and by one in which another
event loop runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

T = TypeVar("T")

CLEANUP_S = 5.0
"""Work that was given up may take so long to remove its temporary files."""

# A lock is not woken by Ctrl-C on Windows; there the wait is cut into pieces.
_POLL_S = 0.2 if sys.platform == "win32" else None


@dataclass(frozen=True)
class _Running:
    portal: BlockingPortal
    stopped: anyio.Event
    events: asyncio.AbstractEventLoop
    thread: threading.Thread

    def stop(self) -> None:
        """Have it stop, without waiting for it."""
        with suppress(RuntimeError):  # it has stopped
            self.events.call_soon_threadsafe(self.stopped.set)


class Loop:
    """An event loop in a daemon thread, started when it is first needed and stopped by `close`.

    cleanup: awaited in the loop when it stops.
    """

    def __init__(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        self._cleanup = cleanup
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._process = os.getpid()
        self._closed = False

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, or raises. Ctrl-C cancels it, and is raised once it has cleaned up."""
        ended = threading.Event()

        async def whole() -> T:
            try:
                return await work()
            finally:
                ended.set()

        future = self._portal().start_task_soon(whole)
        try:
            while True:
                with suppress(TimeoutError):
                    return future.result(_POLL_S)
                if future.done():  # the work's own
                    return future.result()
        except CancelledError:
            raise RuntimeError("the client was closed while it was at work") from None
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait(CLEANUP_S)
            raise

    def close(self) -> None:
        """Cancel what is running, clean up, and stop for good."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is None or self._process != os.getpid():
            return
        running.stop()
        if running.thread is not threading.current_thread():
            running.thread.join()

    def abandon(self) -> None:
        """`close` for a finalizer: nothing is waited for, and no lock is taken.

        The garbage collector calls finalizers in any thread at any place, also in one that this loop waits for.
        """
        running = self._running
        if running is not None and self._process == os.getpid():
            running.stop()

    def _portal(self) -> BlockingPortal:
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed")
            if self._process != os.getpid():  # a fork has the memory of the thread, and no thread
                self._running, self._process = None, os.getpid()
            if self._running is None:
                started: Future[_Running] = Future()
                thread = threading.Thread(
                    target=_live, args=(started, self._cleanup), daemon=True, name="bbmr-client"
                )
                thread.start()
                self._running = started.result()
            return self._running.portal


def _live(started: Future[_Running], cleanup: Callable[[], Awaitable[None]]) -> None:
    """What `anyio.from_thread.start_blocking_portal` does; that one would hang where a fork throws it away."""

    async def until_stopped() -> None:
        stopped = anyio.Event()
        async with BlockingPortal() as portal:
            events = asyncio.get_running_loop()
            started.set_result(_Running(portal, stopped, events, threading.current_thread()))
            await stopped.wait()
            await portal.stop(cancel_remaining=True)
        await cleanup()

    try:
        anyio.run(until_stopped)
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)
