"""The way of a job: from its place through decoder, tiles and encoder to whoever waits for it.

In: jobs that have a place. Out: their answers, or why there is none. The steps run in a small pool of threads; between
them a job's tiles are in the hands of the devices, which tell here what became of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.inference.tile_input import Source, Target
from bbmr_models.inference.tiles import Tile
from bbmr_server.errors import NotReadyError
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.errors import BbmrError, ModelError
from bbmr_shared.images.output import OUTPUT_FORMATS, encode_picture

from .admission import Places
from .job import Job, Stage, go_on, too_late
from .memory import trim_after
from .model_store import Served
from .priority_pool import Steps
from .request import Answer
from .throughput import Pace
from .tile_queue import Entry, TileQueue

log = logging.getLogger("bbmr_server.engine")

MOST_DEATHS = 2
"""Workers that may die with tiles of a picture before it is taken for the reason."""


class Flow:
    """Moves jobs on; every method may be called from any thread.

    Args:
        places: who is inside, and who may start.
        threads: that decode and encode.
        release: told of weights that a job does not hold any more.
        refusal: what is said to a job that cannot be done as the engine is stopping.
    """

    def __init__(
        self,
        places: Places[Job],
        threads: int,
        release: Callable[[Served], None],
        refusal: Callable[[], NotReadyError],
    ) -> None:
        self.places = places
        self.pace = Pace()
        self.tiles = TileQueue(lambda job: self.finish(job, too_late()))
        self._release, self._refusal = release, refusal
        self._pool = Steps(threads, "bbmr-stage")
        self._lock = threading.Lock()

    def close(self) -> None:
        """Begin no other steps; those at work end by themselves."""
        self._pool.close()
        for job in self.places.inside():
            if job.step is not None and job.step.cancelled():
                self.finish(job, self._refusal())

    def advance(self) -> None:
        """Begin with whatever the memory has room for."""
        for job in self.places.start():
            job.stage = "decoding"
            self._begin(self._decode, job, after=1)

    def finish(self, job: Job, outcome: Answer | BaseException) -> None:
        """A started job is over; does nothing a second time."""
        if not self._move(job, "over"):
            return
        self.tiles.discard(job)
        job.source = job.target = None
        self.let_go(job)
        self.places.leave(job)
        job.settle(outcome)
        self.advance()

    def let_go(self, job: Job) -> None:
        """Give back the weights that a job held."""
        weights, job.weights = job.weights, None
        if weights is not None:
            self._release(weights)

    def _move(self, job: Job, stage: Stage) -> bool:
        """Whether the job is not over; if so it is in `stage` now."""
        with self._lock:
            if job.stage == "over":
                return False
            job.stage = stage
            return True

    def give_up(self, job: Job) -> None:
        """Nobody waits for a started job; at work in a thread of the pool it is found out there."""
        if job.stage == "tiles" or (job.step is not None and job.step.cancel()):
            self.finish(job, too_late())

    # Steps in the pool

    def _begin(self, step: Callable[[Job], None], job: Job, after: int = 0) -> None:
        """Queue a step. What ends a picture goes before what begins one (`after`), or all would end together."""
        try:
            job.step = self._pool.submit((after, job.due), self._step, step, job)
        except RuntimeError:  # the pool is shut down
            self.finish(job, self._refusal())

    def _step(self, step: Callable[[Job], None], job: Job) -> None:
        """Run one step; whatever it raises becomes the job's outcome."""
        try:
            go_on(job)
            step(job)
        except BaseException as error:  # a codec's panic too: nobody else would give the place back
            if not isinstance(error, BbmrError) and not job.given_up():
                log.exception("a request failed unexpectedly")
            told = error if isinstance(error, Exception) else RuntimeError(f"a step ended with {error!r}")
            self.finish(job, too_late() if job.given_up() else told)
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
        go_on(job)
        job.waiting_since = time.monotonic()
        job.seconds["decode"] = job.waiting_since - began
        self.pace.add(*job.forecast.decode, job.seconds["decode"])
        if picture is not None:
            self._encode(job, picture, "none")
        elif not job.left:
            self._put_together(job)
        elif self._move(job, "tiles"):
            self.tiles.add(job)
            if job.given_up():  # before there was anything to take out
                self.give_up(job)

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
        job.tiles = job.left = len(job.todo)
        job.forecast.network_units = float(sum(tile.seen[2] * tile.seen[3] for tile in job.todo))
        job.source, job.target = source, target

    def _put_together(self, job: Job) -> None:
        target, weights = job.target, job.weights
        if target is None or weights is None:
            return  # it was given up meanwhile
        picture = target.picture(job.work.container)
        go_on(job)
        job.target = None
        self._encode(job, picture, weights.name)

    def _encode(self, job: Job, picture: Image.Image, model: str) -> None:
        began = time.monotonic()
        work = job.work
        whole = work.region is None and work.max_side is None
        source = work.container.source_file(work.format) if whole else None
        data = encode_picture(picture, work.format) if source is None else source
        job.seconds["encode"] = time.monotonic() - began
        if source is None:
            self.pace.add(*job.forecast.encode, job.seconds["encode"])
        mime = OUTPUT_FORMATS[work.format].mime
        self.finish(job, Answer(data, mime, picture.width, picture.height, model, dict(job.seconds)))

    # What devices tell (see `device.Chief`)

    def begun(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            if job.network_since is None:
                job.network_since = now
                job.seconds["queue"] += now - job.waiting_since

    def worked(self, weights: str, pixels: int, seconds: float) -> None:
        self.pace.add(("network", weights), pixels, seconds)

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
            self._begin(self._put_together, job)

    def failed(self, job: Job, error: BaseException) -> None:
        self.finish(job, error)

    def lost(self, entries: Sequence[Entry], to_blame: bool) -> None:
        for job in {job for job, _ in entries} if to_blame else ():
            job.deaths += 1
            job.alone = True
            if job.deaths >= MOST_DEATHS:
                self.finish(job, ModelError("workers died over this picture; the server's log says more"))
        self.tiles.give_back([(job, tile) for job, tile in entries if job.stage == "tiles"])
