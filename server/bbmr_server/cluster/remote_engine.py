"""An engine that lives in other processes: work in, sent to one of the replicas that Serve runs, a picture out.

Guarantees: what was accepted is answered within its deadline as long as a replica lives or comes back; a replica that
dies with a request in it has the request done by another one. A refusal is the error that the replica's engine
raised. Cancelling a call cancels it in the replica.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
)

from bbmr_server.engine.interface import Observer
from bbmr_server.engine.job import too_late
from bbmr_server.engine.request import Answer, Work, check_model, check_region, model_for
from bbmr_server.errors import BacklogError, NotReadyError, QueueFullError, wait_for
from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError

from .refusals import Refusal

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

log = logging.getLogger("bbmr_server.cluster")

DEATHS = 3
"""Replicas that may die with one request in them before the request is taken for the reason."""

_LOOK_S = 0.5
_DESCRIBE_S = 10.0
_PAUSE_S = 0.2
_GONE = (RayActorError, ReplicaUnavailableError)


class RemoteEngine:
    """`EngineLike` over a handle of the deployment `Engine`. For one event loop.

    Args:
        settings: of the whole application.
        handle: of the deployment.
        replicas: how many of its replicas are running now; may block, and is called in a thread.
    """

    def __init__(
        self, settings: Settings, handle: DeploymentHandle[Any], replicas: Callable[[], int]
    ) -> None:
        self.observer = (
            Observer()
        )  # never told anything: what happens inside an engine is seen in its replica
        self.models: tuple[str, ...] = tuple(settings.model)
        self.devices: tuple[str, ...] = ()
        self.catalogue: Mapping[str, Mapping[str, object]] = {}
        self.failure: BaseException | None = None
        self._places = settings.queue_length
        self._handle = handle
        self._count_replicas = replicas
        self._replicas = 0
        self._inside: set[asyncio.Task[Any]] = set()
        self._waiting = 0
        self._typical_seconds = 1.0
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None

    # Life

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to look for replicas; to be called where the event loop runs. Serve replaces what fails, so
        `on_failure` is never called."""
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.create_task(self._look())

    def stop(self, timeout: float = 20.0) -> None:
        """Take nothing more, wait `timeout` seconds for what is inside, refuse the rest. Blocks: not for the loop."""
        self._stopping = True
        end = time.monotonic() + timeout
        while self._inside and time.monotonic() < end:
            time.sleep(0.02)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.refuse_all()
        if self._watch is not None:
            self._watch.cancel()

    def refuse_all(self) -> None:
        """Take nothing more and refuse what is inside. In the event loop."""
        self._stopping = True
        for call in list(self._inside):
            call.cancel()

    async def _look(self) -> None:
        """See how many replicas there are, and ask the first one what it has."""
        while True:
            try:
                self._replicas = await asyncio.to_thread(self._count_replicas)
                if self._replicas and not self.catalogue:
                    about = await asyncio.wait_for(self._handle.describe.remote(), _DESCRIBE_S)
                    self.devices, self.catalogue = about["devices"], about["catalogue"]
            except Exception as error:  # whatever it is, the next look may see more
                log.warning("the engines cannot be looked at: %s", type(error).__name__)
            await asyncio.sleep(_LOOK_S)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._watch is not None

    @property
    def ready(self) -> bool:
        """Whether a replica is running, as far as it is known, and work is taken."""
        return not self._stopping and self._replicas > 0

    @property
    def length(self) -> int:
        """Requests that may be inside at once: `queue_length` for each replica."""
        return self._places * max(1, self._replicas)

    @property
    def inside(self) -> int:
        """Requests accepted by this ingress and not finished."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """Requests between two replicas; what waits inside a replica is not known here."""
        return self._waiting

    @property
    def backlog_s(self) -> float:
        """Seconds that what is inside will take, as far as can be told."""
        return self._typical_seconds * self.inside / max(1, self._replicas)

    # Admission

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` where any work would be refused now."""
        if self._stopping:
            raise NotReadyError("the server is stopping; try another or come back later")
        if not self._replicas:
            raise NotReadyError("no engine is running yet; try again in a few seconds")
        if room and self.inside >= self.length:
            raise self._full()

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` where the weights `name` are not loaded."""
        check_model(name, self.models, who)

    def model_for(self, work: Work) -> str:
        """The weights that `work` will be done with. Raises `UnknownModelError` where they are not loaded."""
        return model_for(work, self.models)

    # Work

    async def reconstruct(self, work: Work, deadline_s: float = math.inf) -> Answer:
        """Make one picture, within `deadline_s` seconds from now. Cancelling the call gives the work up.

        Raises:
            As `Engine.reconstruct`.
        """
        if work.region is not None:
            check_region(work.region, work.container)
        self.model_for(work)
        self.check_ready()
        began = time.monotonic()
        call = asyncio.ensure_future(self._somewhere(work, began + deadline_s))
        self._inside.add(call)
        try:
            async with asyncio.timeout(None if math.isinf(deadline_s) else deadline_s):
                answer = await call
        except TimeoutError:
            raise too_late() from None
        except asyncio.CancelledError:
            if self._stopping and call.cancelled() and not _cancelling():
                raise NotReadyError("the server is stopping; try another or come back later") from None
            raise
        finally:
            call.cancel()
            self._inside.discard(call)
        self._typical_seconds += 0.2 * (time.monotonic() - began - self._typical_seconds)
        return answer

    async def _somewhere(self, work: Work, deadline: float) -> Answer:
        """Have one replica after the other try, until one answers or refuses for a reason that others share."""
        deaths = busy = 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise too_late()
            try:
                outcome = await self._once(work, left)
            except _GONE as error:
                deaths += 1
                log.warning(
                    "a replica of the engine is gone (%s); another one is asked", type(error).__name__
                )
                if deaths == DEATHS:
                    raise NotReadyError(
                        f"{DEATHS} engines ended while they worked on this; it is not tried again",
                        retry_after=60,
                    ) from None
            except (BackPressureError, DeploymentUnavailableError) as error:
                if isinstance(error, BackPressureError):
                    raise self._full() from None
                raise NotReadyError("no engine could be deployed; the log of the cluster says why") from None
            else:
                if isinstance(outcome, Answer):
                    return outcome
                refused = outcome.error()
                if not isinstance(refused, NotReadyError | QueueFullError):
                    raise refused
                busy += isinstance(refused, BacklogError)
                if busy > self._replicas:  # every one of them was asked, as far as that is known
                    raise refused
            self._waiting += 1
            try:
                await asyncio.sleep(_PAUSE_S)
            finally:
                self._waiting -= 1

    async def _once(self, work: Work, seconds: float) -> Answer | Refusal:
        response = self._handle.reconstruct.remote(work, seconds)
        try:
            outcome: Answer | Refusal = await response
        except RequestCancelledError:
            raise asyncio.CancelledError from None
        except asyncio.CancelledError:
            response.cancel()
            raise
        return outcome

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"all {self.length} places are taken; try again later",
            retry_after=wait_for(self.backlog_s / 2),
        )

    async def swap(self, name: str) -> Mapping[str, object]:
        """Refused: replicas that come later would have the old weights again.

        Raises:
            UsageError: always; says what to do.
        """
        raise UsageError(
            "in a cluster weights are not swapped one engine at a time: change the settings and deploy again "
            "(serve deploy), which replaces the engines while others go on serving"
        )


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
