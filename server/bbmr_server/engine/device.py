"""A device: the thread that keeps one worker alive and busy.

The worker has the weights that the model store wants loaded. After the death of a worker:

1. `worker.process.WorkerProcess` notices it (the process has ended, its socket is closed, or a batch takes too long)
   and raises `WorkerDiedError`.
2. `Device._run_worker` catches the error and calls `BatchRunner.report_lost`.
3. `report_lost` passes the tiles of each batch to `Pipeline.tiles_lost`, and says which batch the worker was running.
4. `tiles_lost` counts a death for each job in that batch. From then on such a job shares no batch with others. At the
   second death (`pipeline.MOST_DEATHS`) the job fails with a `ModelError`.
5. The tiles of all jobs that have not failed go back to the `TileQueue`, from which any device may take them.
6. `Device._run` starts a new worker after a pause. After `MOST_STARTS` starts in a row without one batch done, the
   device is given up. The engine fails when its last device is given up.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from concurrent.futures import Future

from bbmr_shared.errors import BbmrError, WeightsError

from .batch_runner import BatchLimits, BatchRunner
from .interface import Observer
from .listener import DeviceListener
from .model_store import ModelStore, ServedModel
from .tile_queue import TileQueue
from .worker.protocol import LaunchWorker, WorkerDiedError, WorkerHandle

log = logging.getLogger("bbmr_server.engine")

LOOK_S = 0.25
"""Seconds between two checks of a worker that has nothing to do."""
MOST_STARTS = 5
"""A device is given up after so many starts in a row without one batch done."""
STEADY_S = 60.0
"""A worker that lived so many seconds before it died does not count towards `MOST_STARTS`."""
PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
"""Seconds before the first restart, and the most before any. The pause doubles with each restart."""


class Device:
    """One worker and its thread. Every method may be called from any thread.

    Args:
        stall_s: seconds that a batch may take before the device does not count as ready.
    """

    def __init__(
        self,
        name: str,
        launch: LaunchWorker,
        tiles: TileQueue,
        models: ModelStore,
        listener: DeviceListener,
        limits: BatchLimits,
        stall_s: float = math.inf,
    ) -> None:
        self.name = name
        self._launch, self._tiles, self._models = launch, tiles, models
        self._listener, self._limits, self._stall_s = listener, limits, stall_s
        self._observer = Observer()
        self._loads: queue.SimpleQueue[tuple[ServedModel, Future[None]]] = queue.SimpleQueue()
        self._loaded: set[str] = set()
        self._worker: WorkerHandle | None = None
        self._batches: BatchRunner | None = None
        self._was_ready = False
        self._ready_since = math.inf
        self._starts_without_work = 0
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"bbmr-{name}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether the worker is warm and no batch takes too long."""
        batches = self._batches
        return batches is not None and not batches.stalled(self._stall_s)

    @property
    def ended(self) -> bool:
        """Whether the device has stopped or was given up: no worker will run here any more."""
        return self._ended.is_set()

    def start(self, observer: Observer) -> None:
        """Begin to start the worker; returns at once. `ready` turns true later."""
        self._observer = observer
        self._thread.start()

    def load(self, model: ServedModel) -> Future[None]:
        """Have the worker load and try weights between two batches; the future raises if it cannot."""
        done: Future[None] = Future()
        self._loads.put((model, done))
        if self.ended:
            self._refuse_loads()
        self._tiles.wake()
        return done

    def stop(self, patience_s: float = 2.0) -> None:
        """End once the queue is empty; kill a worker that is still busy after `patience_s` seconds. Blocks."""
        self._stopping.set()
        self._tiles.wake()
        if self._thread.ident is None:
            return  # never started
        self._thread.join(patience_s)
        worker = self._worker
        if self._thread.is_alive() and worker is not None:
            worker.kill()
        self._thread.join(2 * patience_s)

    def _run(self) -> None:
        try:
            while not self._run_worker():
                if self._stopping.wait(min(LONGEST_PAUSE_S, PAUSE_S * 2**self._starts_without_work)):
                    return
        finally:
            self._ended.set()
            self._refuse_loads()  # those that came in meanwhile; from now on `load` refuses them

    def _run_worker(self) -> bool:
        """Run one worker from its start to its end. Returns whether the device has ended too (stopped or given up)."""
        worker: WorkerHandle | None = None
        try:
            self._observer.worker(self.name, "loading")
            worker = self._worker = self._launch(self.name)
            self._serve(worker, self._warm_up(worker))
            self._observer.worker(self.name, "stopped")
            return True
        except (WorkerDiedError, BbmrError) as error:
            self._worker_died(error)
            reason = self._reason_to_give_up(error)
            if reason is not None:
                self._listener.device_failed(reason)
            return reason is not None
        except BaseException as error:  # if it is not reported, the engine goes on counting on this device
            log.exception("the thread of %s has ended", self.name)
            self._worker_died(error)
            self._listener.device_failed(error)
            return True
        finally:
            self._batches = self._worker = None
            if worker is not None:
                worker.close()
            self._refuse_loads()

    def _warm_up(self, worker: WorkerHandle) -> BatchRunner:
        self._loaded.clear()
        for model in self._models.loaded():
            worker.load(model.key, model.name, model.data)
            self._loaded.add(model.key)
        batches = BatchRunner(self.name, worker, self._tiles, self._limits, self._listener, self._observer)
        self._batches = batches
        self._was_ready = True
        self._ready_since = time.monotonic()
        self._observer.worker(self.name, "ready")
        log.info("ready on %s", self.name)
        return batches

    def _serve(self, worker: WorkerHandle, batches: BatchRunner) -> None:
        """Run batches, load and drop weights, until `stop`."""
        while True:
            pending = not self._loads.empty() or bool(self._unneeded())
            if batches.idle and pending:
                self._update_models(worker)
                continue
            if not batches.full and not pending:
                stopping = self._stopping.is_set()
                if batches.begin(LOOK_S if batches.idle and not stopping else 0.0):
                    continue
                if batches.idle and stopping:
                    return
            if batches.idle:
                worker.check()
            elif batches.finish():
                self._starts_without_work = 0

    def _unneeded(self) -> set[str]:
        """Keys of weights that the worker has and that the store does not want loaded any more."""
        return self._loaded - {model.key for model in self._models.loaded()}

    def _update_models(self, worker: WorkerHandle) -> None:
        for key in self._unneeded():
            worker.drop(key)
            self._loaded.discard(key)
        with contextlib.suppress(queue.Empty):
            self._execute_load(worker, *self._loads.get_nowait())

    def _execute_load(self, worker: WorkerHandle, model: ServedModel, done: Future[None]) -> None:
        try:
            worker.load(model.key, model.name, model.data)
        except WorkerDiedError as error:
            done.set_exception(WeightsError(f"the worker died of the weights '{model.name}': {error}"))
            raise
        except Exception as error:
            done.set_exception(error)
        else:
            self._loaded.add(model.key)
            done.set_result(None)

    def _worker_died(self, error: BaseException) -> None:
        """Report the death, and the tiles that the worker had."""
        steady = time.monotonic() - self._ready_since >= STEADY_S
        self._starts_without_work = 1 if steady else self._starts_without_work + 1
        self._ready_since = math.inf
        level = logging.INFO if self._stopping.is_set() else logging.ERROR
        log.log(level, "the worker of %s has died: %s", self.name, error)
        self._observer.worker(self.name, "dead")
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.report_lost()

    def _reason_to_give_up(self, error: BaseException) -> BaseException | None:
        """Returns why the device is given up after `error`, or None if it gets another worker."""
        if isinstance(error, BbmrError) and not self._was_ready:
            return error  # once a worker was ready here, another may be again
        if self._starts_without_work >= MOST_STARTS:
            return WeightsError(f"the worker of {self.name} does not stay alive: {error}")
        return None

    def _refuse_loads(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                model, done = self._loads.get_nowait()
                done.set_exception(WeightsError(f"the worker died before it had the weights '{model.name}'"))
