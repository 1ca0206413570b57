"""One worker of a bulk run, in its own process somewhere in the cluster: jobs in, results out.

A worker does several jobs at a time with one engine, so that reading, decoding, network and encoding overlap. The
engine is loaded when the first job needs it: a run that finds everything done loads none.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import pickle
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from bbmr_client.batch.encoding import encode_file
from bbmr_client.batch.file_task import OutputInfo, carry_out
from bbmr_client.batch.reconstructing import ReconstructOptions, write_picture
from bbmr_client.batch.result import FileTask, TaskFailed, TaskResult
from bbmr_server.engine.interface import EngineLike
from bbmr_server.engine.request import PictureRequest
from bbmr_server.errors import NotReadyError
from bbmr_server.settings import Settings
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError
from bbmr_shared.limits import DEFAULT_LIMITS

STREAMS = 4
"""Jobs that one worker does at a time: one each in decoder, device and encoder, and one that reads or writes."""

_LOADING_S = 600.0
_TRIES = 3


@dataclass(frozen=True)
class BulkTask:
    """What a run does with every file.

    Args:
        kind: "reconstruct" or "encode".
        key: from `recipe_key`.
        model: the weights; None: those that the container names.
        encoding: keyword arguments of `bbmr_client.encode`.
    """

    kind: str
    key: bytes
    settings: Settings
    format: str = "png"
    model: str | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)


class BulkWorker:
    """Ray Data calls it with batches of pickled jobs, from several threads at once."""

    def __init__(self, task: BulkTask) -> None:
        self._task = task
        self._engine = EngineHandle(task)
        self._guard = PoisonGuard()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """{"job": pickled `FileTask`s} → {"result": pickled `TaskResult`s}."""
        return {"result": [pickle.dumps(self.do(pickle.loads(job))) for job in batch["job"]]}

    def do(self, job: FileTask) -> TaskResult:
        """Does one job. Never raises. A job that two processes have died over fails."""
        with self._guard.share(job) as failed:
            if failed is not None:
                return failed
            task = self._task
            if task.kind == "encode":
                return carry_out(job, task.key, DEFAULT_LIMITS.max_photo_bytes, self._encode)
            return carry_out(job, task.key, task.settings.http.max_body_bytes, self._reconstruct)

    def close(self) -> None:
        """Stops the engine. In a cluster it ends with its process instead."""
        self._engine.close()

    def _encode(self, data: bytes, job: FileTask, file: BinaryIO) -> OutputInfo:
        return encode_file(data, job.source, self._task.encoding, file)

    def _reconstruct(self, data: bytes, job: FileTask, file: BinaryIO) -> OutputInfo:
        wish = ReconstructOptions(self._task.format, None, self._task.model)
        return write_picture(data, job.source, wish, self._engine.ask, file)


class EngineHandle:
    """The engine of a worker. It is started by the first picture."""

    def __init__(self, task: BulkTask) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._engine: EngineLike | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bbmr-bulk", daemon=True)

    def ask(self, container: Container, file: BinaryIO) -> None:
        """Writes the picture of `container` to `file`. Waits while the engine is not ready; raises as it does."""
        work = PictureRequest(container, self._task.format, model=self._task.model)
        for attempt in range(_TRIES):
            engine = self._ready()
            try:
                answer = asyncio.run_coroutine_threadsafe(engine.reconstruct(work), self._loop).result()
            except NotReadyError:
                if attempt == _TRIES - 1:
                    raise
            else:
                file.write(answer.data)
                return

    def close(self) -> None:
        """Stops the engine, if it was started."""
        if self._engine is not None:
            self._engine.stop(1.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        self._loop.close()

    def _ready(self) -> EngineLike:
        with self._lock:
            if self._engine is None:
                from bbmr_server import loading

                settings = self._task.settings.with_changes(queue_length=2 * STREAMS)
                engine = loading.make_engine(settings, math.inf)
                engine.start()
                self._thread.start()
                self._engine = engine
        end = time.monotonic() + _LOADING_S
        while not self._engine.ready:
            if self._engine.failure is not None:
                raise BbmrError(f"the engine has failed: {self._engine.failure}") from self._engine.failure
            if time.monotonic() >= end:
                raise NotReadyError(f"the engine was not ready within {_LOADING_S:g} s")
            time.sleep(0.05)
        return self._engine


class PoisonGuard:
    """Finds the file that kills its process, among the several that the process worked on.

    If a job's temporary file exists already, a process died while it worked on the job. Such a job runs once more, and
    alone. If the process dies again, the job fails.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextlib.contextmanager
    def share(self, job: FileTask) -> Iterator[TaskFailed | None]:
        """Yields None if the job may run inside the block, or its failure if it may not. Waits until it may run."""
        mark = job.temporary.removesuffix(".part") + "-alone.part"
        if os.path.lexists(job.temporary):
            if os.path.lexists(mark):
                _remove(mark, job.temporary)
                why = "two worker processes died while working on it; it may need more memory"
                yield TaskFailed(job.index, f"{job.source}: {why}")
                return
            with contextlib.suppress(OSError):
                os.rename(job.temporary, mark)
        alone = os.path.lexists(mark)
        try:
            with self._turn(alone):
                yield None
        finally:
            if alone:
                _remove(mark)

    @contextlib.contextmanager
    def _turn(self, alone: bool) -> Iterator[None]:
        """Waits until no suspect job runs, and if `alone`, until no job runs at all."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (alone and self._inside))
            self._alone = alone
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
