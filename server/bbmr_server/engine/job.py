"""A job: one piece of work on its way through the engine, and who waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future, InvalidStateError

from bbmr_shared.composite import Planes

from ..errors import DeadlineError
from .work import Answer, Work


class Job:
    """Only the thread that holds a job's stage changes it; `abandoned` may be set by anybody."""

    def __init__(self, work: Work, model: str, deadline: float) -> None:
        self.work = work
        self.model = model
        self.deadline = deadline
        self.pixels = work.container.grid.padded_width * work.container.grid.padded_height
        self.future: Future[Answer] = Future()
        self.abandoned = threading.Event()
        self.planes: Planes | None = None
        self.seconds: dict[str, float] = {}
        self.waiting_since = time.monotonic()

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
