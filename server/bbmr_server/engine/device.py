"""A device: the thread that keeps one worker alive and busy.

In: batches from the tile queue, and orders to load or drop weights. Out: what became of each batch, to the engine.
Two batches are under way at once, so that the worker finds the next one ready. A worker that dies is started again, and
what it had is given back to the queue.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.inference.tile_input import TileInput
from bbmr_models.inference.tiles import Tile
from bbmr_server.engine.worker.protocol import (
    BatchError,
    Done,
    Launch,
    OutOfMemoryError,
    Runner,
    WorkerDiedError,
)
from bbmr_shared.errors import BbmrError, ModelError, WeightsError

from .interface import Observer
from .job import Job
from .model_store import Served
from .tile_queue import Batch, Entry, TileQueue

log = logging.getLogger("bbmr_server.engine")

LOOK_S = 0.25
"""Seconds between two looks at a worker that has nothing to do."""
MOST_STARTS = 5
"""Starts in a row without one batch done, after which a device is given up."""
STEADY_S = 60.0
"""Seconds after which a worker that dies, though it had nothing to do, is no sign that none can live here."""
PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0

Order = tuple[Literal["load", "drop"], Served, "Future[None]"]


class Chief(Protocol):
    """What a device tells, from its own thread."""

    def worked(self, weights: str, pixels: int, seconds: float) -> None:
        """The device was busy for so long with so many pixels for the weights of this name."""

    def put(self, job: Job, tile: Tile, pixels: NDArray[np.uint8]) -> None:
        """A tile is done; `pixels` is all of what was seen of it, and is written over afterwards."""

    def failed(self, job: Job, error: BaseException) -> None:
        """A job cannot be done."""

    def begun(self, jobs: Sequence[Job]) -> None:
        """Tiles of these jobs go to the worker now."""

    def lost(self, entries: Sequence[Entry], to_blame: bool) -> None:
        """A worker died that had these tiles; `to_blame`: it was at work on them."""


class Device:
    """One worker and its thread. `start` returns at once; `ready` tells when there is a warm worker.

    Args:
        stall_s: seconds after which a batch that is not done says that the worker may hang: it is not ready then.
    """

    def __init__(
        self,
        name: str,
        launch: Launch,
        tiles: TileQueue,
        weights: Callable[[], Sequence[Served]],
        chief: Chief,
        on_gone: Callable[[BaseException], None],
        observer: Callable[[], Observer],
        *,
        batch: int = 1,
        batch_pixels: float = math.inf,
        fill_s: float = 0.0,
        stall_s: float = math.inf,
    ) -> None:
        self.name = name
        self._warm = False
        self._stall_s = stall_s
        self._working_since = math.inf
        self._was_ready = False
        self.batch = batch
        self._batch_pixels = batch_pixels
        self._launch, self._tiles, self._weights = launch, tiles, weights
        self._chief, self._on_gone, self._observer, self._fill_s = chief, on_gone, observer, fill_s
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._under_way: deque[Batch] = deque()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._lives_without_work = 0
        self._ready_since = math.inf
        self._thread = threading.Thread(target=self._live, name=f"bbmr-{name}", daemon=True)
        self._runner: Runner | None = None
        self.start = self._thread.start

    @property
    def ready(self) -> bool:
        """Whether there is a warm worker that gets on with its work."""
        return self._warm and time.monotonic() - self._working_since < self._stall_s

    @property
    def ended(self) -> bool:
        """Whether it has stopped or was given up: no worker will run here any more."""
        return self._ended.is_set()

    def order(self, what: Literal["load", "drop"], weights: Served) -> Future[None]:
        """Have the worker load or drop weights between two batches; the future says how that went."""
        done: Future[None] = Future()
        self._orders.put((what, weights, done))
        if self.ended:
            self._refuse_orders()
        self._tiles.nudge()
        return done

    def stop(self, patience_s: float = 2.0) -> None:
        """End once the queue is empty; a worker that is still busy after `patience_s` seconds is killed. Blocks."""
        self._stopping.set()
        self._tiles.nudge()
        if self._thread.ident is None:
            return  # never started
        self._thread.join(patience_s)
        runner = self._runner
        if self._thread.is_alive() and runner is not None:
            runner.kill()
        self._thread.join(2 * patience_s)

    def _live(self) -> None:
        try:
            self._run()
        finally:
            self._ended.set()
            self._refuse_orders()  # what came in meanwhile; from now on `order` does it

    def _run(self) -> None:
        while True:
            runner: Runner | None = None
            try:
                self._observer().worker(self.name, "loading")
                runner = self._runner = self._launch(self.name)
                for weights in self._weights():
                    runner.load(weights.key, weights.name, weights.data)
                self._warm = self._was_ready = True
                self._ready_since = time.monotonic()
                self._observer().worker(self.name, "ready")
                log.info("ready on %s", self.name)
                self._serve(runner)
                self._observer().worker(self.name, "stopped")
                return
            except (WorkerDiedError, BbmrError) as error:
                self._bury(error)
                if isinstance(error, BbmrError) and not self._was_ready:
                    self._on_gone(error)  # what ran here before may run again; this never did
                    return
                if self._lives_without_work >= MOST_STARTS:
                    self._on_gone(WeightsError(f"the worker of {self.name} does not stay alive: {error}"))
                    return
            except BaseException as error:  # a dead device must be seen, whatever killed it
                log.exception("the thread of %s has ended", self.name)
                self._bury(error)
                self._on_gone(error)
                return
            finally:
                self._warm = False
                self._runner = None
                if runner is not None:
                    runner.close()
                self._refuse_orders()
            pause = min(LONGEST_PAUSE_S, PAUSE_S * 2**self._lives_without_work)
            if self._stopping.wait(pause):
                return

    def _serve(self, runner: Runner) -> None:
        """Work until told to stop."""
        while True:
            if not self._under_way and not self._orders.empty():
                self._obey(runner, *self._orders.get())
                continue
            if len(self._under_way) < runner.depth and self._orders.empty():
                idle = not self._under_way
                wait_s, fill_s = (
                    (LOOK_S, self._fill_s) if idle and not self._stopping.is_set() else (0.0, 0.0)
                )
                batch = self._tiles.take(self.batch, wait_s, fill_s, self._batch_pixels)
                if batch is not None:
                    self._begin(runner, batch)
                    continue
                if idle and self._stopping.is_set():
                    return
            if self._under_way:
                self._finish(runner)
            else:
                runner.check()

    def _begin(self, runner: Runner, batch: Batch) -> None:
        entries, inputs = self._cut(batch)
        if entries:
            self._chief.begun([job for job, _ in entries])
            if not self._under_way:
                self._working_since = time.monotonic()
            self._under_way.append(Batch(batch.key, tuple(entries)))
            runner.begin(batch.key, inputs)

    def _cut(self, batch: Batch) -> tuple[list[Entry], list[TileInput]]:
        """The tiles of those jobs that are still there."""
        entries, inputs = [], []
        for job, tile in batch.entries:
            source = job.source
            if source is not None:
                try:
                    inputs.append(source.cut(tile))
                    entries.append((job, tile))
                except Exception as error:
                    self._chief.failed(job, error)
        return entries, inputs

    def _finish(self, runner: Runner) -> None:
        batch = self._under_way[0]
        try:
            done: Done = self._wait(runner)
        except OutOfMemoryError:
            self._under_way.popleft()
            self._halve(batch)
        except BatchError as error:
            self._under_way.popleft()
            log.error("the network failed on a batch of %d tiles: %s", len(batch.entries), error)
            self._blame(batch)
        else:
            self._under_way.popleft()
            self._lives_without_work = 0
            for (job, tile), pixels in zip(batch.entries, done.pixels, strict=True):
                self._chief.put(job, tile, pixels)
            pixels_done = sum(tile.seen[2] * tile.seen[3] for _, tile in batch.entries)
            model = batch.key.partition("@")[0]
            self._chief.worked(model, pixels_done, done.seconds)
            self._observer().batch(self.name, model, len(batch.entries), pixels_done, done.seconds)
            self._observer().memory(self.name, done.memory)

    def _wait(self, runner: Runner) -> Done:
        """What became of the oldest batch; the worker then begins with the next one."""
        try:
            return runner.finish()
        finally:
            self._working_since = time.monotonic() if len(self._under_way) > 1 else math.inf

    def _blame(self, batch: Batch) -> None:
        """Find out whose tile it is that the network fails on: each job by itself, once more."""
        jobs = {job for job, _ in batch.entries}
        if len(jobs) == 1:
            self._chief.failed(
                jobs.pop(), ModelError("the network failed on this picture; the server's log says more")
            )
            return
        for job in jobs:
            job.alone = True
        self._tiles.give_back(batch.entries)

    def _halve(self, batch: Batch) -> None:
        count = len(batch.entries)
        if count == 1:
            log.error("one tile does not fit the memory of %s", self.name)
            self._chief.failed(
                batch.entries[0][0], ModelError("the device has not enough memory for one tile")
            )
            return
        self.batch = max(1, min(self.batch, count // 2))
        log.warning("%d tiles do not fit the memory of %s; from now on %d", count, self.name, self.batch)
        self._observer().halved(self.name, self.batch)
        self._tiles.give_back(batch.entries)

    def _obey(self, runner: Runner, what: str, weights: Served, done: Future[None]) -> None:
        try:
            if what == "load":
                runner.load(weights.key, weights.name, weights.data)
            else:
                runner.drop(weights.key)
        except WorkerDiedError as error:
            done.set_exception(WeightsError(f"the worker died of the weights '{weights.name}': {error}"))
            raise
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def _bury(self, error: BaseException) -> None:
        """The worker is gone: say so, and give back what it had."""
        self._warm = False
        self._working_since = math.inf
        steady = time.monotonic() - self._ready_since >= STEADY_S
        self._lives_without_work = 1 if steady else self._lives_without_work + 1
        self._ready_since = math.inf
        log.log(
            logging.INFO if self._stopping.is_set() else logging.ERROR,
            "the worker of %s has died: %s",
            self.name,
            error,
        )
        self._observer().worker(self.name, "dead")
        while self._under_way:
            batch = self._under_way.pop()
            self._chief.lost(batch.entries, to_blame=not self._under_way)  # it works on the oldest

    def _refuse_orders(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                what, weights, done = self._orders.get_nowait()
                if what == "load":
                    done.set_exception(
                        WeightsError(f"the worker died before it had the weights '{weights.name}'")
                    )
                else:
                    done.set_result(None)
