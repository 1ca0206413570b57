"""Pools of workers: file tasks go in, results come back in the order in which they are ready.

`ThreadWorkerPool` has a thread for each worker, which waits for a process or for a server. `InlineWorkerPool` works in
the calling thread: it is for a network that uses the whole machine.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from bbmr_client.batch.result import FileTask, TaskFailed, TaskResult

_JOIN_S = 2.0


class Worker(Protocol):
    """Does one task at a time, in a thread of its own. `stop` ends the running task; any thread may call it."""

    def __call__(self, task: FileTask) -> TaskResult: ...

    def stop(self) -> None: ...


class WorkerPool(Protocol):
    """What a run needs of its workers. size: how many tasks should be submitted ahead."""

    size: int

    def submit(self, task: FileTask) -> None: ...

    def next(self, timeout: float) -> TaskResult | None: ...

    def stop(self) -> None: ...


MakePool = Callable[[int], WorkerPool]
"""Makes the pool for that many inputs; raises if the pool could not do any of them."""


class ThreadWorkerPool:
    """One thread for each of `workers`; `on_stop` is called after the workers were asked to stop."""

    def __init__(self, workers: Sequence[Worker], on_stop: Callable[[], None] = lambda: None) -> None:
        self.size = 2 * len(workers)  # each has a second task waiting, so none of them waits for the run
        self._workers, self._on_stop = workers, on_stop
        self._tasks: queue.SimpleQueue[FileTask | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[TaskResult] = queue.SimpleQueue()
        # Daemons: after Ctrl-C the process must not wait for a thread that waits for a server.
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), daemon=True) for worker in workers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: FileTask) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def next(self, timeout: float) -> TaskResult | None:
        """Returns a result, or None if there is none within `timeout` seconds."""
        try:
            return self._results.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End everything, running tasks included."""
        while not self._tasks.empty():
            try:
                self._tasks.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._tasks.put(None)
        for worker in self._workers:
            worker.stop()
        self._on_stop()
        for thread in self._threads:
            thread.join(timeout=_JOIN_S)

    def _work(self, worker: Worker) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._results.put(worker(task))
            except BaseException as error:  # without a result for this task the run would wait for ever
                self._results.put(TaskFailed(task.index, f"unexpected {type(error).__name__}: {error}"))


class InlineWorkerPool:
    """One task at a time, in the calling thread."""

    size = 1

    def __init__(self, work: Callable[[FileTask], TaskResult]) -> None:
        self._work = work
        self._task: FileTask | None = None

    def submit(self, task: FileTask) -> None:
        self._task = task

    def next(self, timeout: float) -> TaskResult | None:
        task, self._task = self._task, None
        return None if task is None else self._work(task)

    def stop(self) -> None:
        """Does nothing: no task runs between two calls of `next`."""
