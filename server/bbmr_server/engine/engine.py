"""The engine: containers in, coded pictures out.

A request takes a place (or is refused), waits for memory, and is decoded in a small pool of threads. Its tiles go, with
those of all others, in batches through the network in the one worker of a device; the picture is put together and
encoded in the pool again, so decoder, device and encoder overlap. A request that nobody waits for any more gives up its
place at once while it waits or has tiles left, and at the end of the step where it is decoded or encoded.
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
from bbmr_server.engine.worker.protocol import Launch
from bbmr_server.errors import BacklogError, NotReadyError, QueueFullError, wait_for
from bbmr_shared.errors import BbmrError, UnknownModelError
from bbmr_shared.limits import DEFAULT_LIMITS

from .admission import Places
from .device import Device
from .estimate import Forecast
from .interface import Observer
from .job import Job, too_late
from .model_store import Catalogue, ReadWeights, Served
from .pipeline import Flow
from .request import Answer, Work, check_model, check_region, model_for
from .swap import swap

log = logging.getLogger("bbmr_server.engine")

STEP_S = 2.0
"""Seconds that a step at work has left when the engine stops: a thread cannot be killed."""


class Engine:
    """Reconstructs containers with some weights on some devices.

    Args:
        launch: starts the worker of a device; called in that device's own thread.
        weights: what is served; the first is the default.
        read: reads weights again, to swap them; without it they cannot be.
        devices: one worker each, such as `("cpu",)`.
        queue_length: most requests accepted and not finished.
        backlog_s: most seconds that all work accepted may take together, as far as can be told beforehand (a picture
            that is alone is always taken); so long a stop has to wait for it.
        memory_pixels: most pixels of all pictures that are decoded, in the network or being encoded; a single
            larger one runs alone.
        stage_threads: threads that decode and encode.
        batch: most tiles that go through the network together.
        batch_pixels: most pixels of those together; a larger tile goes alone.
        fill_s: seconds that an idle device waits for a batch to fill.
        stall_s: seconds that a batch may take before its device is not held for ready any more.

    `observer` may be set until `start`.
    """

    def __init__(
        self,
        launch: Launch,
        weights: Sequence[Served],
        *,
        read: ReadWeights | None = None,
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
        self.failure: BaseException | None = None
        self.weights = Catalogue()
        for one in weights:
            self.weights.serve(one)
        self.places: Places[Job] = Places(queue_length, memory_pixels)
        self._read, self._longest_s = read, backlog_s
        self._stage_threads = stage_threads
        self._flow = Flow(self.places, stage_threads, self._release, self._not_ready)
        self._devices = [
            Device(
                name,
                launch,
                self._flow.tiles,
                self.weights.loaded,
                self._flow,
                self._gone,
                lambda: self.observer,
                batch=batch,
                batch_pixels=batch_pixels,
                fill_s=fill_s,
                stall_s=stall_s,
            )
            for name in devices
        ]
        self._living = len(self._devices)
        self._lock = threading.Lock()
        self._swapping = threading.Lock()
        self._started = False
        self._stopping = False
        self._on_failure: Callable[[], None] | None = None

    # What it is

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the weights that are served; the first is the default."""
        return tuple(self.weights.now)

    @property
    def devices(self) -> tuple[str, ...]:
        """One name a worker."""
        return tuple(device.name for device in self._devices)

    @property
    def catalogue(self) -> Mapping[str, Mapping[str, object]]:
        """Name → what is known of the weights that are served, as plain JSON data."""
        return {name: one.description for name, one in self.weights.now.items()}

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._started

    @property
    def ready(self) -> bool:
        """Whether a worker is alive and warm, and work is taken."""
        return not self._stopping and any(device.ready for device in self._devices)

    @property
    def length(self) -> int:
        """Requests that may be inside at once."""
        return self.places.length

    @property
    def inside(self) -> int:
        """Requests accepted and not finished."""
        return len(self.places)

    @property
    def waiting(self) -> int:
        """Requests accepted and not started."""
        return self.places.waiting

    @property
    def backlog_s(self) -> float:
        """Seconds that what is inside will take, as far as can be told."""
        return self.places.left_s

    # Life

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to load and warm up; returns at once, `ready` turns true later.

        `on_failure` is called, from a device's thread, when the last device has been given up; `failure` says why.
        """
        if self._started:
            raise RuntimeError("an engine is started once")
        self._started = True
        self._on_failure = on_failure
        for device in self._devices:
            device.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Take nothing more, finish what was accepted within `timeout` seconds, refuse the rest, and end.

        Blocks, for some seconds more than `timeout` at most; a second call does nothing. A step that is at work then,
        such as encoding a large AVIF, goes on in its thread for nobody, and `inside` counts it.
        """
        self._stopping = True
        if self.failure is None:
            self.places.wait_until_empty(timeout, but=lambda job: job.abandoned.is_set())
        self.refuse_all()
        with ThreadPoolExecutor(len(self._devices), "bbmr-stop") as each:
            list(each.map(Device.stop, self._devices))
        self._flow.close()
        self.refuse_all()  # what was decoded meanwhile
        self.places.wait_until_empty(STEP_S)

    def refuse_all(self) -> None:
        """Take nothing more and refuse what is inside; what is in a worker or a thread is thrown away when done."""
        self._stopping = True
        for job in self.places.inside():
            job.abandoned.set()
            job.settle(self._not_ready())
            if self.places.withdraw(job):
                self._flow.let_go(job)
            else:
                self._flow.give_up(job)

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` where any work would be refused now."""
        if not self.ready:
            raise self._not_ready()
        if room and len(self.places) >= self.places.length:
            raise self._full()

    # Weights

    def model_for(self, work: Work) -> str:
        """The weights that `work` will be done with. Raises `UnknownModelError` where they are not loaded."""
        return model_for(work, self.models)

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` where the weights `name` are not loaded."""
        check_model(name, self.models, who)

    async def swap(self, name: str) -> Mapping[str, object]:
        """Read the weights `name` again, load and try them on every device, and serve them from then on.

        What was accepted before is finished with the weights that it was accepted for. Gives back the new card.

        Raises:
            UnknownModelError, WeightsError: there are none, or they cannot be used; the old ones go on serving.
            NotReadyError: no worker is there to try them, or others are being swapped.
        """
        return await asyncio.to_thread(self._swap, name)

    def _swap(self, name: str) -> Mapping[str, object]:
        self.check_ready(room=False)
        if self._read is None:
            raise UnknownModelError("this server cannot load other weights")
        if not self._swapping.acquire(blocking=False):
            raise NotReadyError("other weights are being loaded; try again in a few seconds")
        try:
            one = self._read(name)
            swap(one, self.weights, self._devices)
        finally:
            self._swapping.release()
        self._drop_unneeded()
        log.info("serving %s", one.key)
        return one.description

    def _release(self, one: Served) -> None:
        self.weights.release(one)
        self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        with self.weights.telling:
            for one in self.weights.take_unneeded():
                for device in self._devices:
                    device.order("drop", one)

    # Work

    async def reconstruct(self, work: Work, deadline_s: float = math.inf) -> Answer:
        """Make one picture, within `deadline_s` seconds from now. Cancelling the call gives the work up.

        Raises:
            NotReadyError, QueueFullError: not accepted. DeadlineError: not finished in time.
            InvalidRequestError: the region is outside. UnknownModelError: those weights are not loaded.
            BbmrError: as the decoder, the network or the encoder say.
        """
        if work.region is not None:
            check_region(work.region, work.container)
        name = self.model_for(work)
        self.check_ready()
        weights = self._weights_for(work, name)
        devices = max(1, sum(not device.ended for device in self._devices))
        forecast = Forecast(work, weights, self._flow.pace, devices, self._stage_threads)
        job = Job(work, weights, time.monotonic() + deadline_s, forecast)
        within_s = min(deadline_s, self._longest_s)
        refused = self.places.enter(job, within_s)
        if refused:
            self._flow.let_go(job)
            raise self._full() if refused == "places" else self._too_much(job, within_s)
        try:
            if (
                self._stopping
            ):  # since `check_ready`; `refuse_all` may have looked round before the job was inside
                raise self._not_ready()
            self._flow.advance()
            timeout = None if math.isinf(deadline_s) else deadline_s
            return await asyncio.wait_for(asyncio.wrap_future(job.future), timeout)
        except TimeoutError:
            raise too_late() from None
        finally:
            job.abandoned.set()
            self.places.look_again()
            if self.places.withdraw(job):
                self._flow.let_go(job)
                self._flow.advance()
            else:
                self._flow.give_up(job)

    def _weights_for(self, work: Work, name: str) -> Served | None:
        """The weights that will be asked, held; None where no network is. Raises `IncompatibleModelError`."""
        if work.max_side is not None or (work.model is None and not work.container.uses_network):
            return None
        weights = self.weights.hold(name)
        if weights is None:
            raise UnknownModelError(f"the weights {name[:80]!r} are not loaded here")
        try:
            check_reads(weights.config, work.container)
        except BaseException:
            self.weights.release(weights)
            raise
        return weights

    def _gone(self, error: BaseException) -> None:
        """A device is given up."""
        with self._lock:  # two that end at once must not each take the other for alive
            self._living -= 1
            last = self._living == 0
            if last:
                self.failure = error
        if last:
            self.refuse_all()
            if self._on_failure is not None:
                self._on_failure()

    # Refusals

    def _not_ready(self) -> NotReadyError:
        if self.failure is not None:
            why = self.failure if isinstance(self.failure, BbmrError) else "the server's log says why"
            return NotReadyError(f"the engine has failed: {why}", retry_after=60)
        if self._stopping:
            return NotReadyError("the server is stopping; try another or come back later")
        return NotReadyError(
            "the engine is loading, or does not get on with its work; try again in a few seconds"
        )

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"all {self.places.length} places are taken; try again later",
            retry_after=wait_for(self.backlog_s / 2),
        )

    def _too_much(self, job: Job, within_s: float) -> BacklogError:
        return BacklogError(
            f"what was accepted before takes some {math.ceil(self.backlog_s)} s, and this picture would not be done in "
            "time; try again later",
            retry_after=wait_for(self.places.wait_s(job, within_s)),
        )
