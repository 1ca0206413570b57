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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.config import check_reads
from bbmr_models.tile_input import Source, Target
from bbmr_models.tiles import Tile
from bbmr_shared.composite import preview
from bbmr_shared.errors import BbmrError, ModelError, UnknownModelError
from bbmr_shared.limits import DEFAULT_LIMITS
from bbmr_shared.output import OUTPUT_FORMATS, encode_picture
from bbmr_shared.thumbnail import thumbnail

from ..errors import NotReadyError, QueueFullError
from .batches import Entry, TileQueue
from .device import Device
from .interface import Observer
from .job import Job, Stage, too_late
from .memory import trim_after
from .places import Places
from .runner import Launch
from .served import Catalogue, ReadWeights, Served
from .swap import swap
from .work import Answer, Work, check_region

log = logging.getLogger("bbmr_server.engine")

MOST_DEATHS = 2
"""Workers that may die with tiles of a picture before it is taken for the reason."""


class Engine:
    """Reconstructs containers with some weights on some devices.

    Args:
        launch: starts the worker of a device; called in that device's own thread.
        weights: what is served; the first is the default.
        read: reads weights again, to swap them; without it they cannot be.
        devices: one worker each, such as `("cpu",)`.
        queue_length: most requests accepted and not finished.
        memory_pixels: most pixels of all pictures that are decoded, in the network or being encoded; a single
            larger one runs alone.
        stage_threads: threads that decode and encode.
        batch: most tiles that go through the network together.
        fill_s: seconds that an idle device waits for a batch to fill.

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
        memory_pixels: int = DEFAULT_LIMITS.max_pixels,
        stage_threads: int = 2,
        batch: int = 1,
        fill_s: float = 0.0,
    ) -> None:
        self.observer = Observer()
        self.failure: BaseException | None = None
        self.weights = Catalogue()
        for one in weights:
            self.weights.serve(one)
        self.places: Places[Job] = Places(queue_length, memory_pixels)
        self._read = read
        self._tiles = TileQueue(self._nobody_waits)
        self._pool = ThreadPoolExecutor(stage_threads, thread_name_prefix="bbmr-stage")
        self._devices = [
            Device(
                name,
                launch,
                self._tiles,
                self.weights.loaded,
                self,
                lambda: self.observer,
                batch=batch,
                fill_s=fill_s,
            )
            for name in devices
        ]
        self._living = len(self._devices)
        self._lock = threading.Lock()
        self._swapping = threading.Lock()
        self._started = False
        self._stopping = False
        self._on_failure: Callable[[], None] | None = None
        self._typical_seconds = 1.0

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

        Blocks; a second call does nothing.
        """
        self._stopping = True
        if self.failure is None:
            self.places.wait_until_empty(timeout)
        self.refuse_all()
        for device in self._devices:
            device.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.refuse_all()  # what was decoded meanwhile

    def refuse_all(self) -> None:
        """Take nothing more and refuse what is inside; what is in a worker or a thread is thrown away when done."""
        self._stopping = True
        for job in self.places.inside():
            job.abandoned.set()
            job.settle(self._not_ready())
            if self.places.withdraw(job):
                self._let_go(job)
            else:
                self._give_up(job)

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` where any work would be refused now."""
        if not self.ready:
            raise self._not_ready()
        if room and len(self.places) >= self.places.length:
            raise self._full()

    # Weights

    def model_for(self, work: Work) -> str:
        """The weights that `work` will be done with. Raises `UnknownModelError` where they are not loaded."""
        if work.model is None and not work.container.uses_network:
            return self.models[0]  # it will not be asked
        name = work.model or work.container.model or self.models[0]
        self.check_model(name, "the request asks" if work.model else "the container was made")
        return name

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` where the weights `name` are not loaded."""
        models = self.models
        if name not in models:
            raise UnknownModelError(
                f"{who} for the weights {name[:80]!r}, which are not loaded here; choose with "
                f"model={' or model='.join(models)}"
            )

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
        job = Job(work, self._weights_for(work, name), time.monotonic() + deadline_s)
        if not self.places.enter(job):
            self._let_go(job)
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
                self._let_go(job)
                self._advance()
            else:
                self._give_up(job)

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

    def _advance(self) -> None:
        """Begin with whatever the memory has room for."""
        for job in self.places.start():
            job.stage = "decoding"
            try:
                self._pool.submit(self._step, self._decode, job)
            except RuntimeError:  # the pool is shut down
                self._finish(job, self._not_ready())

    def _finish(self, job: Job, outcome: Answer | BaseException) -> None:
        """A started job is over; does nothing a second time."""
        if not self._move(job, "over"):
            return
        self._tiles.discard(job)
        job.source = job.target = None
        self._let_go(job)
        self.places.leave(job)
        job.settle(outcome)
        self._advance()

    def _let_go(self, job: Job) -> None:
        """Give back the weights that a job held."""
        weights, job.weights = job.weights, None
        if weights is not None:
            self.weights.release(weights)
            self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        for one in self.weights.take_unneeded():
            for device in self._devices:
                device.order("drop", one)

    def _move(self, job: Job, stage: Stage) -> bool:
        """Whether the job is not over; if so it is in `stage` now."""
        with self._lock:
            if job.stage == "over":
                return False
            job.stage = stage
            return True

    def _give_up(self, job: Job) -> None:
        """Nobody waits for a started job; in a thread of the pool it is found out there."""
        if job.stage == "tiles":
            self._finish(job, too_late())

    def _nobody_waits(self, job: Job) -> None:
        self._finish(job, too_late())

    # Steps in the pool

    def _step(self, step: Callable[[Job], None], job: Job) -> None:
        """Run one step; whatever it raises becomes the job's outcome."""
        if job.given_up():
            self._finish(job, too_late())
            return
        try:
            step(job)
        except Exception as error:
            if not isinstance(error, BbmrError) and not job.given_up():
                log.exception("a request failed unexpectedly")
            self._finish(job, too_late() if job.given_up() else error)
        if job.stage == "over":
            trim_after(job.pixels)  # only here has the last of it been let go

    def _decode(self, job: Job) -> None:
        work, began = job.work, time.monotonic()
        job.seconds["queue"] = began - job.waiting_since
        picture = None
        if work.max_side is not None:
            picture = thumbnail(work.container, work.max_side, work.region)
        elif job.weights is None:
            picture = preview(work.container, work.region)
        else:
            self._lay_out(job, job.weights)
        job.waiting_since = time.monotonic()
        job.seconds["decode"] = job.waiting_since - began
        if picture is not None:
            self._encode(job, picture, "none")
        elif not job.left:
            self._put_together(job)
        elif self._move(job, "tiles"):
            self._tiles.add(job)
            if job.given_up():  # before there was anything to take out
                self._give_up(job)

    def _lay_out(self, job: Job, weights: Served) -> None:
        """Decode what is needed, and cut it into tiles; those that the network would leave as they are, are done."""
        work = job.work
        area = work.region or (0, 0, work.container.width, work.container.height)
        source, target = Source(work.container, area, None, weights.config), Target(area)
        for tile in source.tiles:
            if source.is_final(tile):
                target.put(tile, source.base(tile.seen))
            else:
                job.todo.append(tile)
        job.left = len(job.todo)
        job.source, job.target = source, target

    def _put_together(self, job: Job) -> None:
        target, weights = job.target, job.weights
        if target is None or weights is None:
            return  # it was given up meanwhile
        picture = target.picture(job.work.container)
        job.target = None
        self._encode(job, picture, weights.name)

    def _encode(self, job: Job, picture: Image.Image, model: str) -> None:
        began = time.monotonic()
        work = job.work
        whole = work.region is None and work.max_side is None
        source = work.container.source_file(work.format) if whole else None
        data = encode_picture(picture, work.format) if source is None else source
        job.seconds["encode"] = time.monotonic() - began
        mime = OUTPUT_FORMATS[work.format].mime
        self._typical_seconds += 0.2 * (
            sum(job.seconds.values()) - job.seconds["queue"] - self._typical_seconds
        )
        self._finish(job, Answer(data, mime, picture.width, picture.height, model, dict(job.seconds)))

    # What devices tell (see `device.Chief`)

    def begun(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            if job.network_since is None:
                job.network_since = now
                job.seconds["queue"] += now - job.waiting_since

    def put(self, job: Job, tile: Tile, pixels: NDArray[np.uint8]) -> None:
        target = job.target
        if target is None:
            return  # it is over
        target.put(tile, pixels)
        with self._lock:
            job.left -= 1
            done = job.left == 0
        if done and self._move(job, "encoding"):
            job.source = None
            job.seconds["network"] = time.monotonic() - (job.network_since or 0)
            try:
                self._pool.submit(self._step, self._put_together, job)
            except RuntimeError:  # the pool is shut down
                self._finish(job, self._not_ready())

    def failed(self, job: Job, error: BaseException) -> None:
        self._finish(job, error)

    def lost(self, entries: Sequence[Entry], to_blame: bool) -> None:
        for job in {job for job, _ in entries} if to_blame else ():
            job.deaths += 1
            job.alone = True
            if job.deaths >= MOST_DEATHS:
                self._finish(job, ModelError("workers died over this picture; the server's log says more"))
        self._tiles.give_back([(job, tile) for job, tile in entries if job.stage == "tiles"])

    def gone(self, device: Device, error: BaseException) -> None:
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
        return NotReadyError("the engine is still loading; try again in a few seconds")

    def _full(self) -> QueueFullError:
        seconds = self._typical_seconds * len(self.places) / len(self._devices)
        return QueueFullError(
            f"all {self.places.length} places are taken; try again later",
            retry_after=min(60, max(1, math.ceil(seconds / 2))),
        )
