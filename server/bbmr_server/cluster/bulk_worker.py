"""What a worker of a bulk run does, in a process of its own somewhere in the cluster: jobs in, results out.

A worker does several jobs at a time over one engine, so that reading, decoding, network and encoding overlap. The
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
from bbmr_client.batch.file_task import Product, carry_out
from bbmr_client.batch.reconstructing import Wish, make_picture
from bbmr_client.batch.result import Failed, Job, Result
from bbmr_server.engine.interface import EngineLike
from bbmr_server.engine.request import Work
from bbmr_server.errors import NotReadyError
from bbmr_server.settings import Settings
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError
from bbmr_shared.limits import DEFAULT_LIMITS

STREAMS = 4
"""Jobs that one worker has in hand: one each for decoder, device and encoder, and one that reads or writes."""

_LOADING_S = 600.0
_TRIES = 3


@dataclass(frozen=True)
class Errand:
    """What is to be done with every file. kind: "reconstruct" or "encode"; key: of the recipes; model: None leaves it
    to the container; encoding: keyword arguments of `bbmr_client.encode`."""

    kind: str
    key: bytes
    settings: Settings
    format: str = "png"
    model: str | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)


class Hands:
    """One worker: called by Ray Data with a batch of pickled jobs, from several threads at once."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._network = Network(errand)
        self._suspects = Suspects()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """{"job": pickled `Job`s} → {"result": pickled `Result`s}."""
        return {"result": [pickle.dumps(self.do(pickle.loads(job))) for job in batch["job"]]}

    def do(self, job: Job) -> Result:
        """Do one job; never raises. One that two processes have died over is given up."""
        with self._suspects.share(job) as failed:
            if failed is not None:
                return failed
            errand = self._errand
            if errand.kind == "encode":
                return carry_out(job, errand.key, DEFAULT_LIMITS.max_photo_bytes, self._encode)
            return carry_out(job, errand.key, errand.settings.max_body_bytes, self._reconstruct)

    def close(self) -> None:
        """End the engine; in a cluster it ends with its process."""
        self._network.close()

    def _encode(self, data: bytes, job: Job, file: BinaryIO) -> Product:
        return encode_file(data, job.source, self._errand.encoding, file)

    def _reconstruct(self, data: bytes, job: Job, file: BinaryIO) -> Product:
        wish = Wish(self._errand.format, None, self._errand.model)
        return make_picture(data, job.source, wish, self._network.ask, file)


class Network:
    """The engine of a worker, started when it is first asked."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._lock = threading.Lock()
        self._engine: EngineLike | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bbmr-bulk", daemon=True)

    def ask(self, container: Container, file: BinaryIO) -> None:
        """Write the picture of `container` to `file`. Raises as `Engine.reconstruct`; waits while it is not ready."""
        work = Work(container, self._errand.format, model=self._errand.model)
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
        """End the engine, if there is one."""
        if self._engine is not None:
            self._engine.stop(1.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        self._loop.close()

    def _ready(self) -> EngineLike:
        with self._lock:
            if self._engine is None:
                from bbmr_server import loading

                settings = self._errand.settings.model_copy(update={"queue_length": 2 * STREAMS})
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


class Suspects:
    """Finds the file that kills its process, out of the several that it had in hand.

    A job's temporary file that is there already is left by a process that died with the job in hand. Such a job is
    done once more, with nothing else beside it; if that kills the process as well, it is that file's fault.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextlib.contextmanager
    def share(self, job: Job) -> Iterator[Failed | None]:
        """While inside, the job may be done; or its failure is given, and it may not."""
        mark = job.temporary.removesuffix(".part") + "-alone.part"
        if os.path.lexists(job.temporary):
            if os.path.lexists(mark):
                for path in (mark, job.temporary):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                yield Failed(
                    job.index,
                    f"{job.source}: two worker processes ended over it: perhaps it needs more memory",
                )
                return
            with contextlib.suppress(OSError):
                os.rename(job.temporary, mark)
        alone = os.path.lexists(mark)
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (alone and self._inside))
            self._alone = alone
            self._inside += 1
        try:
            yield None
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()
            if alone:
                with contextlib.suppress(OSError):
                    os.unlink(mark)
