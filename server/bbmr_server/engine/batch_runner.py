"""Runs batches through one worker and reports the result of each tile.

In: batches from the tile queue. Out: calls of the `DeviceListener` and the `Observer`. Two batches are in the worker at
once, so that it finds the next one ready.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass

from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.errors import ModelError

from .interface import Observer
from .job import too_late
from .listener import DeviceListener
from .tile_queue import Batch, Entry, TileQueue
from .worker.protocol import BatchError, BatchResult, OutOfMemoryError, WorkerHandle

log = logging.getLogger("bbmr_server.engine")


@dataclass
class BatchLimits:
    """How batches are formed on one device.

    Attributes:
        tiles: most tiles in a batch; halved when a batch does not fit the device's memory.
        pixels: most pixels in a batch; a larger tile goes alone.
        fill_s: seconds that an idle device waits for a batch to fill.
    """

    tiles: int = 1
    pixels: float = math.inf
    fill_s: float = 0.0


class BatchRunner:
    """The batches of one worker, from its start to its end. Only the device's thread uses it, except for `stalled`."""

    def __init__(
        self,
        device: str,
        worker: WorkerHandle,
        tiles: TileQueue,
        limits: BatchLimits,
        listener: DeviceListener,
        observer: Observer,
    ) -> None:
        self._device, self._worker, self._tiles, self._limits = device, worker, tiles, limits
        self._listener, self._observer = listener, observer
        self._in_worker: deque[Batch] = deque()
        self._working_since = math.inf

    @property
    def idle(self) -> bool:
        """Whether the worker has no batch."""
        return not self._in_worker

    @property
    def full(self) -> bool:
        """Whether the worker takes no further batch now."""
        return len(self._in_worker) >= self._worker.depth

    def stalled(self, seconds: float) -> bool:
        """Whether the worker has been busy with one batch for so long. Any thread may call it."""
        return time.monotonic() - self._working_since >= seconds

    def begin(self, wait_s: float) -> bool:
        """Send the next batch to the worker. Returns False if there was none within `wait_s` seconds."""
        limits = self._limits
        fill_s = limits.fill_s if wait_s > 0 else 0.0
        batch, given_up = self._tiles.take(limits.tiles, wait_s, fill_s, limits.pixels)
        for job in given_up:
            self._listener.job_failed(job, too_late())
        if batch is None:
            return False
        entries, inputs = self._cut(batch)
        if entries:
            self._listener.batch_started([job for job, _ in entries])
            if self.idle:
                self._working_since = time.monotonic()
            self._in_worker.append(Batch(batch.key, tuple(entries)))
            self._worker.begin(batch.key, inputs)
        return True

    def finish(self) -> bool:
        """Wait for the oldest batch and report it. Returns whether the network ran without an error.

        Raises:
            WorkerDiedError: the batch is still counted among those in the worker.
        """
        batch = self._in_worker[0]
        try:
            result = self._wait()
        except OutOfMemoryError:
            self._in_worker.popleft()
            self._halve(batch)
        except BatchError as error:
            self._in_worker.popleft()
            log.error("the network failed on a batch of %d tiles: %s", len(batch.entries), error)
            self._isolate(batch)
        else:
            self._in_worker.popleft()
            self._report(batch, result)
            return True
        return False

    def report_lost(self) -> None:
        """Report the tiles of a worker that has died."""
        self._working_since = math.inf
        while self._in_worker:
            batch = self._in_worker.pop()
            self._listener.tiles_lost(batch.entries, at_work=self.idle)  # it works on the oldest

    def _cut(self, batch: Batch) -> tuple[list[Entry], list[TileInput]]:
        """Cut the tiles of those jobs that are not done."""
        entries, inputs = [], []
        for job, tile in batch.entries:
            source = job.source
            if source is not None:
                try:
                    inputs.append(source.cut(tile))
                    entries.append((job, tile))
                except Exception as error:
                    self._listener.job_failed(job, error)
        return entries, inputs

    def _wait(self) -> BatchResult:
        try:
            return self._worker.finish()
        finally:  # the worker begins with the next batch now
            self._working_since = time.monotonic() if len(self._in_worker) > 1 else math.inf

    def _report(self, batch: Batch, result: BatchResult) -> None:
        for (job, tile), pixels in zip(batch.entries, result.pixels, strict=True):
            self._listener.tile_done(job, tile, pixels)
        total = sum(tile.seen[2] * tile.seen[3] for _, tile in batch.entries)
        model = batch.key.partition("@")[0]
        self._listener.batch_done(model, total, result.seconds)
        self._observer.batch(self._device, model, len(batch.entries), total, result.seconds)
        self._observer.memory(self._device, result.memory)

    def _isolate(self, batch: Batch) -> None:
        """Find the job that the network fails on: each job of the batch goes by itself, once more."""
        jobs = {job for job, _ in batch.entries}
        if len(jobs) == 1:
            self._listener.job_failed(
                jobs.pop(), ModelError("the network failed on this picture; the server's log says more")
            )
            return
        for job in jobs:
            job.alone = True
        self._tiles.give_back(batch.entries)

    def _halve(self, batch: Batch) -> None:
        count, limits = len(batch.entries), self._limits
        if count == 1:
            log.error("one tile does not fit the memory of %s", self._device)
            error = ModelError("the device has not enough memory for one tile")
            self._listener.job_failed(batch.entries[0][0], error)
            return
        limits.tiles = max(1, min(limits.tiles, count // 2))
        log.warning("%d tiles do not fit the memory of %s; from now on %d", count, self._device, limits.tiles)
        self._observer.halved(self._device, limits.tiles)
        self._tiles.give_back(batch.entries)
