"""The engine: containers in, coded pictures out.

A request becomes a `Job`, which goes through the stages below. Decoder, device and encoder work on different jobs at
the same time.

========  ==========================  ============================  ==========================  =======
stage     done by                     needs first                   ends when                   metric
========  ==========================  ============================  ==========================  =======
waiting   nobody (`Admission`)        a place, and time (estimate)  memory for its pixels       queue
decoding  a `PriorityPool` thread     a free thread (queue)         its tiles are cut           decode
network   `Device`, worker process    a place in a batch (queue)    its last tile is done       network
encoding  a `PriorityPool` thread     a free thread (no metric)     its file is written         encode
done
========  ==========================  ============================  ==========================  =======

A metric is a value of `request.STAGES`: the label of `bbmr_stage_seconds` and the name in `Server-Timing`. "queue" adds
up the waits marked so.

A job without a network (a thumbnail, or strength 0) goes from decoding to its file in one step. An original that is
asked for whole and in its own format is done at the start of decoding: its bytes are the answer.

A job leaves early if it fails, if its deadline passes or if its caller goes away. It gives its place back at once while
it waits or has tiles left, and at the end of the step if a thread is decoding or encoding it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bbmr_models.config import check_reads
from bbmr_server.errors import BacklogError, NotReadyError, QueueFullError, RequestError, wait_for
from bbmr_shared.errors import UnknownModelError
from bbmr_shared.limits import DEFAULT_LIMITS

from .admission import Admission, Refused
from .batch_runner import BatchLimits
from .device import Device
from .estimate import Estimate
from .interface import Observer
from .job import Job, too_late
from .lifecycle import Lifecycle
from .model_store import ModelStore, ReadModel, ServedModel
from .pipeline import Pipeline
from .request import Answer, PictureRequest, check_model, check_region, model_for
from .swap import swap
from .worker.protocol import LaunchWorker

log = logging.getLogger("bbmr_server.engine")

STEP_S = 2.0
"""Seconds that a running step has left when the engine stops: a thread cannot be killed."""


class Engine:
    """Reconstructs containers with some weights on some devices.

    Args:
        launch: starts the worker of a device; called in that device's own thread.
        models: the weights that are served; the first are the default.
        read: reads weights by name, to swap them; without it they cannot be swapped.
        devices: one worker each, such as `("cpu",)`.
        queue_length: most requests accepted and not finished.
        backlog_s: most seconds that all accepted work may take together, by estimate; a stop waits that long for it. A
            picture that is alone is always accepted.
        memory_pixels: most pixels of all pictures from decoding to encoding; a larger picture runs alone.
        stage_threads: threads that decode and encode.
        batch: most tiles that go through the network together.
        batch_pixels: most pixels of those together; a larger tile goes alone.
        fill_s: seconds that an idle device waits for a batch to fill.
        stall_s: seconds that a batch may take before its device does not count as ready.

    `observer` may be set until `start`.
    """

    def __init__(
        self,
        launch: LaunchWorker,
        models: Sequence[ServedModel],
        *,
        read: ReadModel | None = None,
        devices: Sequence[str] = ("cpu",),
        queue_length: int = 16,
        backlog_s: float = math.inf,
        memory_pixels: int = DEFAULT_LIMITS.max_pixels,
        stage_threads: int = 2,
        batch: int = 1,
        batch_pixels: float = math.inf,
        fill_s: float = 0.0,
        stall_s: float = math.inf,
    ) -> None:
        self.observer = Observer()
        self.model_store = ModelStore()
        for model in models:
            self.model_store.serve(model)
        self.admission: Admission[Job] = Admission(queue_length, memory_pixels)
        self._read, self._longest_s, self._stage_threads = read, backlog_s, stage_threads
        self._lifecycle = Lifecycle(len(devices))
        self._pipeline = Pipeline(self.admission, self.model_store, self._lifecycle, stage_threads)
        self._devices = [
            Device(
                name,
                launch,
                self._pipeline.tiles,
                self.model_store,
                self._pipeline,
                BatchLimits(batch, batch_pixels, fill_s),
                stall_s,
            )
            for name in devices
        ]
        self._swapping = threading.Lock()

    # State

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the weights that are served; the first is the default."""
        return tuple(self.model_store.serving)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices; each has one worker."""
        return tuple(device.name for device in self._devices)

    @property
    def catalogue(self) -> Mapping[str, Mapping[str, object]]:
        """Name → card of the weights that are served, as plain JSON data."""
        return {name: model.description for name, model in self.model_store.serving.items()}

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._lifecycle.started

    @property
    def failure(self) -> BaseException | None:
        """Why the last device was given up, or None."""
        return self._lifecycle.failure

    @property
    def ready(self) -> bool:
        """Whether a worker is alive and warm, and requests are accepted."""
        return not self._lifecycle.stopping and any(device.ready for device in self._devices)

    @property
    def length(self) -> int:
        """Requests that may be inside at once."""
        return self.admission.length

    @property
    def inside(self) -> int:
        """Requests accepted and not finished."""
        return len(self.admission)

    @property
    def waiting(self) -> int:
        """Requests accepted and not started."""
        return self.admission.waiting

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until everything inside is done."""
        return self.admission.left_s

    # Start and stop

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to load and warm up; returns at once, `ready` turns true later.

        `on_failure` is called, from a device's thread, when the last device has been given up; `failure` says why.
        """
        self._lifecycle.start(on_failure)
        for device in self._devices:
            device.start(self.observer)

    def stop(self, timeout: float = 20.0) -> None:
        """Accept nothing more, finish what is inside within `timeout` seconds, refuse the rest, and end.

        Blocks, for some seconds more than `timeout` at most; a second call does nothing. A step that is running then,
        such as encoding a large AVIF, goes on in its thread with no use, and `inside` counts it.
        """
        self._lifecycle.stopping = True
        if self.failure is None:
            self.admission.wait_until_empty(timeout, but=lambda job: job.abandoned.is_set())
        self.refuse_all()
        with ThreadPoolExecutor(len(self._devices), "bbmr-stop") as each:
            list(each.map(Device.stop, self._devices))
        self._pipeline.close()
        self.refuse_all()  # what was decoded meanwhile
        self.admission.wait_until_empty(STEP_S)

    def refuse_all(self) -> None:
        """Accept nothing more and refuse what is inside."""
        self._pipeline.refuse_all()

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` if any request would be refused now."""
        if not self.ready:
            raise self._lifecycle.refusal()
        if room and len(self.admission) >= self.admission.length:
            raise self._full()

    # Weights

    def model_for(self, request: PictureRequest) -> str:
        """The name of the weights for `request`. Raises `UnknownModelError` if they are not loaded."""
        return model_for(request, self.models)

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` if the weights `name` are not loaded."""
        check_model(name, self.models, who)

    async def swap(self, name: str) -> Mapping[str, object]:
        """Read the weights `name` again, load and try them on every device, and serve them from then on.

        Requests that were accepted before are finished with the old weights. Returns the new card.

        Raises:
            UnknownModelError, WeightsError: there are none, or they cannot be used; the old ones go on serving.
            NotReadyError: no worker is there to try them, or another swap is running.
        """
        return await asyncio.to_thread(self._swap, name)

    def _swap(self, name: str) -> Mapping[str, object]:
        self.check_ready(room=False)
        if self._read is None:
            raise UnknownModelError("this server cannot load other weights")
        if not self._swapping.acquire(blocking=False):
            raise NotReadyError("other weights are being loaded; try again in a few seconds")
        try:
            model = self._read(name)
            swap(model, self.model_store, self._devices)
        finally:
            self._swapping.release()
        log.info("serving %s", model.key)
        return model.description

    # Requests

    async def reconstruct(self, request: PictureRequest, deadline_s: float = math.inf) -> Answer:
        """Make one picture within `deadline_s` seconds from now. Cancelling the call gives the job up.

        Raises:
            NotReadyError, QueueFullError: not accepted. DeadlineError: not finished in time.
            InvalidRequestError: the region is outside. UnknownModelError: those weights are not loaded.
            BbmrError: as the decoder, the network or the encoder raise it.
        """
        if request.region is not None:
            check_region(request.region, request.container)
        name = self.model_for(request)
        self.check_ready()
        job = self._make_job(request, name, deadline_s)
        within_s = min(deadline_s, self._longest_s)
        refused = self._pipeline.submit(job, within_s)
        if refused:
            raise self._refusal(refused, job, within_s)
        try:
            timeout = None if math.isinf(deadline_s) else deadline_s
            return await asyncio.wait_for(asyncio.wrap_future(job.future), timeout)
        except TimeoutError:
            raise too_late() from None
        finally:
            self._pipeline.abandon(job)

    def _make_job(self, request: PictureRequest, name: str, deadline_s: float) -> Job:
        model = self._hold_model(request, name)
        devices = max(1, sum(not device.ended for device in self._devices))
        estimate = Estimate(request, model, self._pipeline.throughput, devices, self._stage_threads)
        return Job(request, model, time.monotonic() + deadline_s, estimate)

    def _hold_model(self, request: PictureRequest, name: str) -> ServedModel | None:
        """The weights, held; None if the network will not run. Raises `IncompatibleModelError`."""
        if request.max_side is not None or (request.model is None and not request.container.uses_network):
            return None
        model = self.model_store.hold(name)
        if model is None:
            raise UnknownModelError(f"the weights {name[:80]!r} are not loaded here")
        try:
            check_reads(model.config, request.container)
        except BaseException:
            self.model_store.release(model)
            raise
        return model

    def _refusal(self, refused: Refused, job: Job, within_s: float) -> RequestError:
        if refused == "places":
            return self._full()
        return BacklogError(
            f"what was accepted before takes some {math.ceil(self.backlog_s)} s, and this picture would not be done in "
            "time; try again later",
            retry_after=wait_for(self.admission.wait_s(job, within_s)),
        )

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"all {self.admission.length} places are taken; try again later",
            retry_after=wait_for(self.backlog_s / 2),
        )
