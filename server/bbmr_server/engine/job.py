"""A job: one request on its way through the engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from typing import Literal

from bbmr_models.inference.tile_input import OutputPixels, TileSource
from bbmr_models.inference.tiles import Tile
from bbmr_server.errors import DeadlineError

from .estimate import Estimate
from .model_store import ServedModel
from .request import Answer, PictureRequest

Stage = Literal["waiting", "decoding", "network", "encoding", "done"]
"""See the table in `bbmr_server.engine.engine`."""

PATIENCE = 4.0
"""A job is due after this many times its own estimated time, or earlier if its deadline requires it."""


class Job:
    """One request and its state.

    Any thread may set `abandoned` at any time. From `TileQueue.add` on, `todo` and `closed` belong to the tile queue
    and its lock.

    Attributes:
        model: the weights for this job; a swap does not change them. None if the network does not run.
        source, output: tiles are cut from `source` and written into `output`; None before decoding and when done.
        todo: tiles that no device has yet.
        closed: the tile queue takes no more tiles of this job.
        tiles, left: number of all tiles, and of those that are not in `output` yet.
        due: the job with the earliest time (`time.monotonic`) goes first. Small pictures are due soon after they came,
            large ones later but in time for their deadline, equal ones in the order in which they came.
        deaths: workers that died while they had tiles of this job.
        alone: its tiles share no batch with other jobs, because they may have caused a failure.
        step: the newest task of this job in the thread pool.
        stage: changes under the pipeline's lock.
        seconds: stage of `request.STAGES` → seconds so far.
    """

    def __init__(
        self, request: PictureRequest, model: ServedModel | None, deadline: float, estimate: Estimate
    ) -> None:
        self.request = request
        self.model = model
        self.deadline = deadline
        self.estimate = estimate
        self.pixels = estimate.pixels
        self.future: Future[Answer] = Future()
        self.abandoned = threading.Event()
        self.source: TileSource | None = None
        self.output: OutputPixels | None = None
        self.todo: deque[Tile] = deque()
        self.closed = False
        self.tiles = self.left = 0
        self.deaths = 0
        self.alone = False
        self.step: Future[None] | None = None
        self.stage: Stage = "waiting"
        self.seconds: dict[str, float] = {}
        self.waiting_since = time.monotonic()
        own, left = estimate.seconds(), deadline - self.waiting_since
        self.due = self.waiting_since + min(PATIENCE * own, max(left / 2, left - 2 * own))
        self.network_since: float | None = None

    @property
    def left_s(self) -> float:
        """Estimated seconds until the job is done."""
        match self.stage:
            case "waiting" | "decoding":
                return self.estimate.seconds()
            case "network":
                return self.estimate.seconds(decoding=False, tiles=self.left / max(1, self.tiles))
            case "encoding":
                return self.estimate.seconds(decoding=False, tiles=0)
            case "done":
                return 0.0

    def given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.abandoned.is_set() or time.monotonic() >= self.deadline

    def check_wanted(self) -> None:
        """Raise `DeadlineError` if nobody waits for the answer any more; called between two expensive steps."""
        if self.given_up():
            raise too_late()

    def settle(self, outcome: Answer | BaseException) -> None:
        """Set the outcome of `future`. Does nothing if the future is done or cancelled."""
        with contextlib.suppress(InvalidStateError):
            if isinstance(outcome, Answer):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)


def too_late() -> DeadlineError:
    """The error of a job that nobody waits for any more."""
    return DeadlineError("the picture was not finished in time; send a smaller one, or try again later")
