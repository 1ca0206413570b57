"""Runs coroutines for synchronous code, in an event loop in a thread of its own.

Several threads can use one loop at once, also threads that run another event loop.
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
"""Time for cancelled work to remove its temporary files."""

# On Windows Ctrl-C does not interrupt a wait for a lock, so the wait is cut into pieces there.
_POLL_S = 0.2 if sys.platform == "win32" else None


@dataclass(frozen=True)
class _Running:
    portal: BlockingPortal
    stopped: anyio.Event
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def stop(self) -> None:
        """Ask the loop to stop, and do not wait for it."""
        with suppress(RuntimeError):  # it has stopped
            self.loop.call_soon_threadsafe(self.stopped.set)


class LoopThread:
    """An event loop in a daemon thread. It starts when it is first needed, and `close` stops it.

    cleanup: awaited in the loop when it stops.
    """

    def __init__(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        self._cleanup = cleanup
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._process = os.getpid()
        self._closed = False

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Returns or raises what `work` does. Ctrl-C cancels it, and is raised after its cleanup.

        Raises:
            RuntimeError: the loop is closed, or is closed meanwhile.
        """
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
                if future.done():  # the TimeoutError was the work's own
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
        """`close` for a finalizer: waits for nothing and takes no lock.

        The garbage collector calls finalizers in any thread, also in one that this loop waits for.
        """
        running = self._running
        if running is not None and self._process == os.getpid():
            running.stop()

    def _portal(self) -> BlockingPortal:
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed")
            if self._process != os.getpid():  # after a fork the thread does not exist in the child
                self._running, self._process = None, os.getpid()
            if self._running is None:
                started: Future[_Running] = Future()
                thread = threading.Thread(
                    target=_run_loop, args=(started, self._cleanup), daemon=True, name="bbmr-client"
                )
                thread.start()
                self._running = started.result()
            return self._running.portal


def _run_loop(started: Future[_Running], cleanup: Callable[[], Awaitable[None]]) -> None:
    """What `anyio.from_thread.start_blocking_portal` does. That one would hang if a fork discards its thread."""

    async def until_stopped() -> None:
        stopped = anyio.Event()
        async with BlockingPortal() as portal:
            loop = asyncio.get_running_loop()
            started.set_result(_Running(portal, stopped, loop, threading.current_thread()))
            await stopped.wait()
            await portal.stop(cancel_remaining=True)
        await cleanup()

    try:
        anyio.run(until_stopped)
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)
