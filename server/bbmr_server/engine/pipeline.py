"""The pipeline moves jobs from stage to stage, from their admission to their outcome.

The stages are listed in `bbmr_server.engine.engine`. The pipeline is the listener of every device.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.inference.tiles import Tile
from bbmr_shared.errors import BbmrError, ModelError

from . import stages
from .admission import Admission, Refused
from .job import Job, Stage, too_late
from .lifecycle import Lifecycle
from .listener import DeviceListener
from .memory import trim_after
from .model_store import ModelStore
from .priority_pool import PriorityPool
from .request import Answer
from .throughput import Throughput
from .tile_queue import Entry, TileQueue

log = logging.getLogger("bbmr_server.engine")

MOST_DEATHS = 2
"""A job fails when so many workers have died while they worked on it. `device` describes the whole path."""


class Pipeline(DeviceListener):
    """Every method may be called from any thread.

    Args:
        models: where jobs give back their weights.
        threads: that decode and encode.
    """

    def __init__(
        self, admission: Admission[Job], models: ModelStore, lifecycle: Lifecycle, threads: int
    ) -> None:
        self.throughput = Throughput()
        self.tiles = TileQueue()
        self._admission, self._models, self._lifecycle = admission, models, lifecycle
        self._pool = PriorityPool(threads, "bbmr-stage")
        self._lock = threading.Lock()

    def submit(self, job: Job, within_s: float) -> Refused:
        """Admit a job, and begin with it as soon as there is memory. Returns why the job is refused, or "".

        Raises:
            NotReadyError: the engine stops, or has failed.
        """
        refused = self._admission.enter(job, within_s)
        if refused:
            self._release_model(job)
        elif self._lifecycle.stopping:  # `refuse_all` may have run just before the job was admitted
            self.abandon(job)
            raise self._lifecycle.refusal()
        else:
            self._start_waiting()
        return refused

    def abandon(self, job: Job) -> None:
        """Give up a job because nobody waits for it any more. Does nothing to a job that is done."""
        job.abandoned.set()
        self._admission.look_again()
        if self._admission.withdraw(job):
            self._release_model(job)
            self._start_waiting()
        else:
            self._stop_if_possible(job)

    def refuse_all(self) -> None:
        """Refuse every job. If a worker or a thread is busy with a job, its result is discarded."""
        self._lifecycle.stopping = True
        for job in self._admission.inside():
            job.abandoned.set()
            job.settle(self._lifecycle.refusal())
            if self._admission.withdraw(job):
                self._release_model(job)
            else:
                self._stop_if_possible(job)

    def close(self) -> None:
        """Begin no further step in the pool. Running steps go on to their end."""
        self._pool.close()
        for job in self._admission.inside():
            if job.step is not None and job.step.cancelled():
                self._finish(job, self._lifecycle.refusal())

    # Moving a job

    def _start_waiting(self) -> None:
        """Begin with every waiting job that there is memory for."""
        for job in self._admission.start():
            job.stage = "decoding"
            self._begin(self._decode, job, after=1)

    def _finish(self, job: Job, outcome: Answer | BaseException) -> None:
        """End a started job; does nothing a second time."""
        if not self._move(job, "done"):
            return
        self.tiles.discard(job)
        job.source = job.output = None
        self._release_model(job)
        self._admission.leave(job)
        job.settle(outcome)
        self._start_waiting()

    def _release_model(self, job: Job) -> None:
        model, job.model = job.model, None
        if model is not None:
            self._models.release(model)

    def _move(self, job: Job, stage: Stage) -> bool:
        """Put a job into `stage`. Returns False, and changes nothing, if it is done."""
        with self._lock:
            if job.stage == "done":
                return False
            job.stage = stage
            return True

    def _stop_if_possible(self, job: Job) -> None:
        """End a started job that nobody waits for. A running step is ended by `Job.check_wanted` instead."""
        if job.stage == "network" or (job.step is not None and job.step.cancel()):
            self._finish(job, too_late())

    # Steps in the pool

    def _begin(self, step: Callable[[Job], None], job: Job, after: int = 0) -> None:
        """Queue a step. Encoding goes before decoding, which has a larger `after`: else all jobs would end together."""
        try:
            job.step = self._pool.submit((after, job.due), self._run_step, step, job)
        except RuntimeError:  # the pool is closed
            self._finish(job, self._lifecycle.refusal())

    def _run_step(self, step: Callable[[Job], None], job: Job) -> None:
        """Run one step; an exception becomes the job's outcome."""
        try:
            job.check_wanted()
            step(job)
        except BaseException as error:  # a codec's panic too: otherwise the job keeps its place for ever
            if not isinstance(error, BbmrError) and not job.given_up():
                log.exception("a request failed unexpectedly")
            shown = error if isinstance(error, Exception) else RuntimeError(f"a step ended with {error!r}")
            self._finish(job, too_late() if job.given_up() else shown)
        if job.stage == "done":
            trim_after(job.pixels)  # the last references to the pixels are gone only here

    def _decode(self, job: Job) -> None:
        request, began = job.request, time.monotonic()
        job.seconds["queue"] = began - job.waiting_since
        if request.source_file is not None:
            model = job.model.name if job.model is not None else "none"
            self._succeed(job, stages.from_source_file(request, request.source_file, model))
            return
        picture = None
        if job.model is None:
            picture = stages.without_network(request)
        else:
            stages.cut_tiles(job, job.model)
        job.check_wanted()
        job.waiting_since = time.monotonic()
        job.seconds["decode"] = job.waiting_since - began
        self.throughput.add(*job.estimate.decode, job.seconds["decode"])
        if picture is not None:
            self._encode(job, picture, "none")
        elif not job.left:
            self._assemble(job)
        else:
            self._queue_tiles(job)

    def _queue_tiles(self, job: Job) -> None:
        if self._move(job, "network"):
            self.tiles.add(job)
            if job.given_up():  # before there were tiles in the queue
                self._stop_if_possible(job)

    def _assemble(self, job: Job) -> None:
        output, model = job.output, job.model
        if output is None or model is None:
            return  # the job was given up meanwhile
        picture = output.picture(job.request.container)
        job.check_wanted()
        job.output = None
        self._encode(job, picture, model.name)

    def _encode(self, job: Job, picture: Image.Image, model: str) -> None:
        began = time.monotonic()
        answer = stages.encode(job, picture, model)
        job.seconds["encode"] = time.monotonic() - began
        self.throughput.add(*job.estimate.encode, job.seconds["encode"])
        self._succeed(job, answer)

    def _succeed(self, job: Job, answer: Answer) -> None:
        self._finish(job, replace(answer, seconds=dict(job.seconds)))

    # As `DeviceListener`

    def batch_started(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            if job.network_since is None:
                job.network_since = now
                job.seconds["queue"] += now - job.waiting_since

    def tile_done(self, job: Job, tile: Tile, pixels: NDArray[np.uint8]) -> None:
        output = job.output
        if output is None:
            return  # the job is done
        output.put(tile, pixels)
        with self._lock:
            job.left -= 1
            last = job.left == 0
        if last and self._move(job, "encoding"):
            job.source = None
            job.seconds["network"] = time.monotonic() - (job.network_since or 0)
            self._begin(self._assemble, job)

    def batch_done(self, model: str, pixels: int, seconds: float) -> None:
        self.throughput.add(("network", model), pixels, seconds)

    def job_failed(self, job: Job, error: BaseException) -> None:
        self._finish(job, error)

    def tiles_lost(self, entries: Sequence[Entry], at_work: bool) -> None:
        for job in {job for job, _ in entries} if at_work else ():
            job.deaths += 1
            job.alone = True
            if job.deaths >= MOST_DEATHS:
                self._finish(job, ModelError("workers died over this picture; the server's log says more"))
        self.tiles.give_back([(job, tile) for job, tile in entries if job.stage == "network"])

    def device_failed(self, error: BaseException) -> None:
        if self._lifecycle.device_failed(error):
            self.refuse_all()
            self._lifecycle.report_failure()
