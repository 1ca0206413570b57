"""The threads that decode and encode: steps in, done in the order in which they matter, not in which they came.

Of the steps that wait, the one with the smallest rank goes first.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

Rank = tuple[float, ...]
IDLE_S = 10.0
"""Seconds after which a thread that has nothing to do ends: a process waits for its threads before it ends."""


class Steps:
    """Up to `threads` threads, started when they are needed. Every method may be called from any thread."""

    def __init__(self, threads: int, name: str) -> None:
        self._most, self._name = threads, name
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._queue: list[tuple[Rank, int, Future[None], Callable[[], None]]] = []
        self._numbers = count()  # between equal ranks, the order in which they came
        self._idle = 0
        self._closed = False

    def submit(self, rank: Rank, step: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have `step(*arguments)` done. Raises `RuntimeError` once the threads have been told to end."""
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("no more steps are taken")
            heapq.heappush(self._queue, (rank, next(self._numbers), future, lambda: step(*arguments)))
            if len(self._queue) > self._idle and len(self._threads) < self._most:
                thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}")
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Begin no other steps: those that wait are cancelled, those at work end by themselves. Does not wait."""
        with self._changed:
            self._closed = True
            waiting = [future for _, _, future, _ in self._queue]
            self._queue.clear()
            self._changed.notify_all()
        for future in waiting:
            future.cancel()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            future, step = entry
            del entry  # so that what it holds is let go when it is done
            if future.set_running_or_notify_cancel():
                try:
                    step()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(None)
            del future, step

    def _next(self) -> tuple[Future[None], Callable[[], None]] | None:
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._queue or self._closed, IDLE_S)
                if not self._queue:
                    self._threads.remove(threading.current_thread())
                    return None
                _, _, future, step = heapq.heappop(self._queue)
                return future, step
            finally:
                self._idle -= 1
