"""A job: one piece of work on its way through the engine, and who waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from typing import Literal

from bbmr_models.inference.tile_input import Source, Target
from bbmr_models.inference.tiles import Tile
from bbmr_server.errors import DeadlineError

from .estimate import Forecast
from .model_store import Served
from .request import Answer, Work

Stage = Literal["waiting", "decoding", "tiles", "encoding", "over"]

PATIENCE = 4.0
"""How many times its own work a picture may take before those that came after it have to stand back."""


class Job:
    """What a request has become.

    `abandoned` may be set by anybody, at any time. `todo` and `closed` belong to the tile queue (and its lock) from
    `add` on.

    Attributes:
        weights: those it is done with, even where they are swapped meanwhile; None where no network is asked.
        source, target: what tiles are cut from and put into; None before decoding, and again once it is over.
        todo: tiles that no device has yet.
        closed: whether the tile queue takes no tiles of it any more.
        tiles, left: tiles that it has in all, and that are not in `target` yet.
        forecast: how long it takes.
        due: who of several goes first, by the monotonic clock: the job with the earliest. Small pictures are due
            soon after they came, large ones later but in time for their deadline, equal ones in the order in which
            they came.
        deaths: workers that died with tiles of this job.
        alone: whether its tiles go through without those of others, as it may be what failed.
        step: the step in the pool that was begun last.
        stage: where it is; changed under the engine's lock.
    """

    def __init__(self, work: Work, weights: Served | None, deadline: float, forecast: Forecast) -> None:
        self.work = work
        self.weights = weights
        self.deadline = deadline
        self.forecast = forecast
        self.pixels = forecast.pixels
        self.future: Future[Answer] = Future()
        self.abandoned = threading.Event()
        self.source: Source | None = None
        self.target: Target | None = None
        self.todo: deque[Tile] = deque()
        self.closed = False
        self.tiles = self.left = 0
        self.deaths = 0
        self.alone = False
        self.step: Future[None] | None = None
        self.stage: Stage = "waiting"
        self.seconds: dict[str, float] = {}
        self.waiting_since = time.monotonic()
        own, left = forecast.seconds(), deadline - self.waiting_since
        self.due = self.waiting_since + min(PATIENCE * own, max(left / 2, left - 2 * own))
        self.network_since: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds that what is left of it takes, as far as can be told."""
        match self.stage:
            case "waiting" | "decoding":
                return self.forecast.seconds()
            case "tiles":
                return self.forecast.seconds(decoding=False, tiles=self.left / max(1, self.tiles))
            case "encoding":
                return self.forecast.seconds(decoding=False, tiles=0)
            case "over":
                return 0.0

    def given_up(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self.abandoned.is_set() or time.monotonic() >= self.deadline

    def settle(self, outcome: Answer | BaseException) -> None:
        """Tell the waiting side, unless it has gone or was told before."""
        with contextlib.suppress(InvalidStateError):
            if isinstance(outcome, Answer):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)


def too_late() -> DeadlineError:
    """What is said of a job that nobody waits for any more."""
    return DeadlineError("the picture was not finished in time; send a smaller one, or try again later")


def go_on(job: Job) -> None:
    """Raise `DeadlineError` where nobody waits for the job any more; called between two expensive steps."""
    if job.given_up():
        raise too_late()
