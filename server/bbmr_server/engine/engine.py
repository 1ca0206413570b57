"""The engine: containers in, coded pictures out; bounded, off the event loop, and without any HTTP.

A request takes a place (or is refused), waits for memory, is decoded in a small pool, goes through the network
in the one worker thread of a device, and is encoded in the pool, so decoder, device and encoder overlap.
A request that nobody waits for any more gives up its place at once while it waits, and at the next tile while
it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from bbmr_shared.composite import preview
from bbmr_shared.errors import BbmrError, UnknownModelError
from bbmr_shared.limits import DEFAULT_LIMITS
from bbmr_shared.output import OUTPUT_FORMATS, encode_picture
from bbmr_shared.thumbnail import thumbnail

from ..errors import NotReadyError, QueueFullError
from .job import Job, too_late
from .places import Places
from .warmup import tiny_container
from .work import Answer, ReconstructorFactory, Reconstructs, Work, check_region

log = logging.getLogger("bbmr_server.engine")


class Engine:
    """Reconstructs containers with the weights `models` on `devices`.

    Args:
        factory: makes the reconstructor of a model on a device; called in the device's own thread.
        models: names of weights; the first is the default.
        devices: one worker thread each, such as `("cpu",)`.
        queue_length: most requests accepted and not finished.
        memory_pixels: most pixels of all pictures that are decoded, in the network or being encoded; a single
            larger one runs alone.
        stage_threads: threads that decode and encode.
        catalogue: what is known of each model, to be told to who asks.
    """

    def __init__(
        self,
        factory: ReconstructorFactory,
        *,
        models: Sequence[str] = ("light",),
        devices: Sequence[str] = ("cpu",),
        queue_length: int = 16,
        memory_pixels: int = DEFAULT_LIMITS.max_pixels,
        stage_threads: int = 2,
        catalogue: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.models = tuple(models)
        self.catalogue = dict(catalogue or {})
        self.devices = tuple(devices)
        self.places: Places[Job] = Places(queue_length, memory_pixels)
        self.failure: BaseException | None = None
        self._factory = factory
        self._typical_seconds = 1.0
        self._decoded: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(stage_threads, thread_name_prefix="bbmr-stage")
        self._workers: list[threading.Thread] = []
        self._warm: set[str] = set()
        self._lock = threading.Lock()
        self._living = 0
        self._stopping = False
        self._on_failure: Callable[[], None] | None = None

    # Life

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to load and warm up; returns at once, `ready` turns true later.

        `on_failure` is called, from a worker's thread, when the last worker has died; `failure` says why.
        """
        if self._workers:
            raise RuntimeError("an engine is started once")
        self._on_failure = on_failure
        self._living = len(self.devices)
        self._workers = [
            threading.Thread(target=self._worker, args=(device,), name=f"bbmr-{device}", daemon=True)
            for device in self.devices
        ]
        for worker in self._workers:
            worker.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Take nothing more, finish what was accepted within `timeout` seconds, refuse the rest, and end.

        Blocks; a second call does nothing.
        """
        self._stopping = True
        if self.failure is None:
            self.places.wait_until_empty(timeout)
        self.refuse_all()
        for _ in self._workers:
            self._decoded.put(None)
        for worker in self._workers:
            worker.join(10.0)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._refuse_decoded()  # decoded after the workers had ended

    def refuse_all(self) -> None:
        """Take nothing more and refuse what is inside; what runs stops at its next tile."""
        self._stopping = True
        for job in self.places.inside():
            job.abandoned.set()
            job.settle(self._not_ready())
            self.places.withdraw(job)
        self._refuse_decoded()

    def _refuse_decoded(self) -> None:
        ends = 0
        with contextlib.suppress(queue.Empty):
            while True:
                if (decoded := self._decoded.get_nowait()) is not None:
                    self._finish(decoded, self._not_ready())
                else:
                    ends += 1
        for _ in range(ends):  # these are for the workers
            self._decoded.put(None)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return bool(self._workers)

    @property
    def ready(self) -> bool:
        """Whether a worker is alive and warm, and work is taken."""
        return not self._stopping and any(
            worker.is_alive() and device in self._warm
            for worker, device in zip(self._workers, self.devices, strict=False)
        )

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` where any work would be refused now."""
        if not self.ready:
            raise self._not_ready()
        if room and len(self.places) >= self.places.length:
            raise self._full()

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
        job = Job(work, self.model_for(work), time.monotonic() + deadline_s)
        self.check_ready()
        if not self.places.enter(job):
            raise self._full()
        try:
            if (
                self._stopping
            ):  # since `check_ready`; `refuse_all` may have looked round before the job was inside
                raise self._not_ready()
            self._advance()
            timeout = None if math.isinf(deadline_s) else deadline_s
            return await asyncio.wait_for(asyncio.wrap_future(job.future), timeout)
        except TimeoutError:
            raise too_late() from None
        finally:
            job.abandoned.set()
            if self.places.withdraw(job):
                self._advance()

    def model_for(self, work: Work) -> str:
        """The weights that `work` will be done with. Raises `UnknownModelError` where they are not loaded."""
        if work.model is None and not work.container.uses_network:
            return self.models[0]  # it will not be asked
        name = work.model or work.container.model or self.models[0]
        self.check_model(name, "the request asks" if work.model else "the container was made")
        return name

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` where the weights `name` are not loaded."""
        if name not in self.models:
            raise UnknownModelError(
                f"{who} for the weights {name[:80]!r}, which are not loaded here; choose with "
                f"model={' or model='.join(self.models)}"
            )

    def _advance(self) -> None:
        """Begin with whatever the memory has room for."""
        for job in self.places.start():
            try:
                self._pool.submit(self._stage, self._decode, job)
            except RuntimeError:  # the pool is shut down
                self._finish(job, self._not_ready())

    def _finish(self, job: Job, outcome: Answer | BaseException) -> None:
        job.planes = None
        self.places.leave(job)
        job.settle(outcome)
        self._advance()

    # Stages

    def _stage(self, stage: Callable[[Job], None], job: Job) -> None:
        """Run one stage; whatever it raises becomes the job's outcome."""
        if job.given_up():
            self._finish(job, too_late())
            return
        try:
            stage(job)
        except Exception as error:
            if not isinstance(error, BbmrError) and not job.given_up():
                log.exception("a request failed unexpectedly")
            self._finish(job, too_late() if job.given_up() else error)

    def _decode(self, job: Job) -> None:
        work, began = job.work, time.monotonic()
        job.seconds["queue"] = began - job.waiting_since
        planes = work.container.decode_planes()
        done = None
        if work.max_side is not None:
            done = thumbnail(work.container, work.max_side, work.region, planes)
        elif work.model is None and not work.container.uses_network:
            done = preview(work.container, work.region, planes)
        job.waiting_since = time.monotonic()
        job.seconds["decode"] = job.waiting_since - began
        if done is not None:
            self._encode(job, done, "none")
        else:
            job.planes = planes
            self._decoded.put(job)

    def _network(self, job: Job, reconstructor: Reconstructs) -> None:
        work, began = job.work, time.monotonic()
        job.seconds["queue"] += began - job.waiting_since
        picture = reconstructor.reconstruct(
            work.container, region=work.region, cancelled=job.given_up, planes=job.planes
        )
        job.planes = None
        job.seconds["network"] = time.monotonic() - began
        self._typical_seconds += 0.2 * (job.seconds["network"] - self._typical_seconds)
        self._pool.submit(self._stage, lambda it: self._encode(it, picture, it.model), job)

    def _encode(self, job: Job, picture: Image.Image, model: str) -> None:
        began = time.monotonic()
        work = job.work
        whole = work.region is None and work.max_side is None
        source = work.container.source_file(work.format) if whole else None
        data = encode_picture(picture, work.format) if source is None else source
        job.seconds["encode"] = time.monotonic() - began
        mime = OUTPUT_FORMATS[job.work.format].mime
        self._finish(job, Answer(data, mime, picture.width, picture.height, model, dict(job.seconds)))

    # Workers

    def _worker(self, device: str) -> None:
        """The thread of one device: load, warm up, then one decoded job after the other."""
        job: Job | None = None
        try:
            reconstructors = {name: self._factory(name, device) for name in self.models}
            for reconstructor in reconstructors.values():
                reconstructor.reconstruct(tiny_container())
            self._warm.add(device)
            log.info("ready on %s with %s", device, ", ".join(self.models))
            while (job := self._decoded.get()) is not None:
                reconstructor = reconstructors[job.model]
                self._stage(lambda it, by=reconstructor: self._network(it, by), job)  # type: ignore[misc]
        except BaseException as error:  # a dead worker must be seen, whatever killed it
            log.error(
                "the worker of %s has ended: %s", device, error, exc_info=not isinstance(error, BbmrError)
            )
            self._warm.discard(device)
            self._died(error, job)

    def _died(self, error: BaseException, job: Job | None) -> None:
        with self._lock:  # two that die at once must not each take the other for alive
            self._living -= 1
            last = self._living == 0
            if last:
                self.failure = error
        if job is not None:
            self._finish(job, NotReadyError("the engine failed while it worked on this; try again"))
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
        return NotReadyError("the engine is still loading; try again in a few seconds")

    def _full(self) -> QueueFullError:
        seconds = self._typical_seconds * len(self.places) / len(self.devices)
        return QueueFullError(
            f"all {self.places.length} places are taken; try again later",
            retry_after=min(60, max(1, math.ceil(seconds / 2))),
        )
