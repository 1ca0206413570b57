"""A job: one piece of work on its way through the engine, and who waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from typing import Literal

from bbmr_models.tile_input import Source, Target
from bbmr_models.tiles import Tile

from ..errors import DeadlineError
from .pace import cost
from .served import Served
from .work import Answer, Work

Stage = Literal["waiting", "decoding", "tiles", "encoding", "over"]

PATIENCE = 4.0
"""How many times its own work a picture may take before those that came after it have to stand back."""
ENCODING = 0.1
"""Share of a job's cost that is left when its tiles are done."""


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
        cost: what it takes in all, in the unit of `pace`.
        undone: the part of it that was left when it was over.
        due: who of several goes first, by the monotonic clock: the job with the earliest. Small pictures are due
            soon after they came, large ones later, and none for ever; equal ones in the order in which they came.
        deaths: workers that died with tiles of this job.
        alone: whether its tiles go through without those of others, as it may be what failed.
        step: the step in the pool that was begun last.
        stage: where it is; changed under the engine's lock.
    """

    def __init__(self, work: Work, weights: Served | None, deadline: float) -> None:
        self.work = work
        self.weights = weights
        self.deadline = deadline
        self.pixels = work.container.grid.padded_width * work.container.grid.padded_height
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
        self.waiting_since = self.due = time.monotonic()
        self.cost = self._cost()
        self.undone = 0.0
        self.network_since: float | None = None

    def _cost(self) -> float:
        container = self.work.container
        if self.weights is None:
            return cost(self.pixels, 0)
        around = self.weights.config.halo
        _, _, width, height = self.work.region or (0, 0, container.width, container.height)
        return cost(self.pixels, min(self.pixels, (width + 2 * around) * (height + 2 * around)))

    @property
    def remaining(self) -> float:
        """The part of `cost` that is not done yet."""
        match self.stage:
            case "waiting" | "decoding":
                return self.cost
            case "tiles":
                return self.cost * max(ENCODING, self.left / self.tiles)
            case "encoding":
                return self.cost * ENCODING
            case "over":
                return self.undone

    def expect(self, seconds: float) -> None:
        """The job takes `seconds` by itself: it is due after some times that, but early enough before its deadline."""
        self.due = min(self.waiting_since + PATIENCE * seconds, self.deadline - 2 * seconds)

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
