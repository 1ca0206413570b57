"""A pool of threads that runs the waiting step with the smallest rank first."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Rank = tuple[float, ...]
IDLE_S = 10.0
"""An idle thread ends after so many seconds, because a process cannot end before its threads."""


@dataclass(order=True)
class _Entry:
    rank: Rank
    number: int
    future: Future[None] = field(compare=False)
    step: Callable[[], None] = field(compare=False)

    def let_go(self, _: Future[None]) -> None:
        """Drop the step and with it the picture that it holds, also if it was cancelled in the queue."""
        self.step = _nothing


def _nothing() -> None:
    pass


class PriorityPool:
    """Up to `threads` threads, started when they are needed. Any thread may use it."""

    def __init__(self, threads: int, name: str) -> None:
        self._most, self._name = threads, name
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._queue: list[_Entry] = []
        self._numbers = count()  # equal ranks go in the order in which they came
        self._idle = 0
        self._closed = False

    def submit(self, rank: Rank, step: Callable[..., None], *arguments: Any) -> Future[None]:
        """Queue `step(*arguments)`; the future ends when it does. Raises `RuntimeError` after `close`."""
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("no more steps are taken")
            if len(self._queue) >= self._idle and len(self._threads) < self._most:
                self._start_thread()
            entry = _Entry(rank, next(self._numbers), future, lambda: step(*arguments))
            heapq.heappush(self._queue, entry)
            self._changed.notify()
        future.add_done_callback(entry.let_go)
        return future

    def close(self) -> None:
        """Cancel the steps that wait; running steps end by themselves. Does not wait for them."""
        with self._changed:
            self._closed = True
            waiting = [entry.future for entry in self._queue]
            self._queue.clear()
            self._changed.notify_all()
        for future in waiting:
            future.cancel()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError:  # such as too little memory, which may pass; other threads can do the step
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            if entry.future.set_running_or_notify_cancel():
                try:
                    entry.step()
                except BaseException as error:
                    entry.future.set_exception(error)
                else:
                    entry.future.set_result(None)
            del entry

    def _next(self) -> _Entry | None:
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._queue or self._closed, IDLE_S)
                if not self._queue:
                    self._threads.remove(threading.current_thread())
                    return None
                return heapq.heappop(self._queue)
            finally:
                self._idle -= 1
