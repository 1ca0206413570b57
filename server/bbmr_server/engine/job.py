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
from .served import Served
from .work import Answer, Work

Stage = Literal["waiting", "decoding", "tiles", "encoding", "over"]


class Job:
    """What a request has become.

    `abandoned` may be set by anybody, at any time. `todo` and `closed` belong to the tile queue (and its lock) from
    `add` on.

    Attributes:
        weights: those it is done with, even where they are swapped meanwhile; None where no network is asked.
        source, target: what tiles are cut from and put into; None before decoding, and again once it is over.
        todo: tiles that no device has yet.
        closed: whether the tile queue takes no tiles of it any more.
        left: tiles that are not in `target` yet.
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
        self.left = 0
        self.deaths = 0
        self.alone = False
        self.step: Future[None] | None = None
        self.stage: Stage = "waiting"
        self.seconds: dict[str, float] = {}
        self.waiting_since = time.monotonic()
        self.network_since: float | None = None

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
