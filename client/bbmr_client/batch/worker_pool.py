"""Who does the work: jobs go in, results come back as they are ready, a bounded number at a time.

In: functions that do one job each. Out: their results. `Crew` has a thread for every one of them (which then waits
for its process, or for a server); `Alone` works in the calling thread, for a network that takes the whole machine.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from bbmr_client.batch.result import Failed, Job, Result


class Hand(Protocol):
    """Does one job at a time, in a thread of its own. `stop` ends the job at hand; any thread may call it."""

    def __call__(self, job: Job) -> Result: ...

    def stop(self) -> None: ...


class Workers(Protocol):
    """What a run needs of those who work for it. size: jobs that are worth having in flight."""

    size: int

    def submit(self, job: Job) -> None: ...

    def next(self, timeout: float) -> Result | None: ...

    def stop(self) -> None: ...


class Crew:
    """One thread for each of `hands`; `closing` is called last, once they were told to stop."""

    def __init__(self, hands: Sequence[Hand], closing: Callable[[], None] = lambda: None) -> None:
        self.size = 2 * len(hands)  # one in work and one in reserve each, so that nobody waits for the run
        self._hands, self._closing = hands, closing
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        # Daemons: after Ctrl-C nobody waits for a thread that waits for a server.
        self._threads = [threading.Thread(target=self._work, args=(hand,), daemon=True) for hand in hands]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Hand in a job."""
        self._jobs.put(job)

    def next(self, timeout: float) -> Result | None:
        """A result, or None where there is none within `timeout` seconds."""
        try:
            return self._results.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End everything, jobs in work included."""
        while not self._jobs.empty():
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._jobs.put(None)
        for hand in self._hands:
            hand.stop()
        self._closing()
        for thread in self._threads:
            thread.join(timeout=2)

    def _work(self, hand: Hand) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._results.put(hand(job))
            except BaseException as error:  # a job that is never answered would be waited for for ever
                self._results.put(Failed(job.index, f"unexpected {type(error).__name__}: {error}"))


class Alone:
    """One job at a time in the calling thread."""

    size = 1

    def __init__(self, work: Callable[[Job], Result]) -> None:
        self._work = work
        self._job: Job | None = None

    def submit(self, job: Job) -> None:
        self._job = job

    def next(self, timeout: float) -> Result | None:
        job, self._job = self._job, None
        return None if job is None else self._work(job)

    def stop(self) -> None:
        """Nothing is left behind."""
