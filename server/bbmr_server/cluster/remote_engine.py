"""An engine whose work is done by the replicas that Serve runs in other processes.

Guarantees: an accepted request is answered within its deadline as long as a replica lives or comes back. If a replica
dies with a request in it, another one does the request. Errors of a replica's engine are raised here unchanged.
Cancelling a call cancels it in the replica.
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
from bbmr_server.engine.request import Answer, PictureRequest, check_model, check_region, model_for
from bbmr_server.errors import BacklogError, NotReadyError, QueueFullError, wait_for
from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError

from .refusals import Refusal

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

log = logging.getLogger("bbmr_server.cluster")

MAX_DEATHS = 3
"""Replicas that may die with the same request in them before the request is refused."""

_POLL_S = 0.5
_DESCRIBE_S = 10.0
_RETRY_S = 0.2
_GONE = (RayActorError, ReplicaUnavailableError)


class RemoteEngine:
    """An `EngineLike` over the deployment `Engine`, for one event loop.

    Args:
        settings: of the whole application.
        handle: of the deployment.
        replicas: returns how many of its replicas are running now. It is called in a thread and may block.
    """

    def __init__(
        self, settings: Settings, handle: DeploymentHandle[Any], replicas: Callable[[], int]
    ) -> None:
        self.observer = Observer()  # gets no events: they happen in the replicas
        self.models: tuple[str, ...] = tuple(settings.engine.model)
        self.devices: tuple[str, ...] = ()
        self.catalogue: Mapping[str, Mapping[str, object]] = {}
        self.failure: BaseException | None = None
        self._places = settings.engine.queue_length
        self._handle = handle
        self._count_replicas = replicas
        self._replicas = 0
        self._inside: set[asyncio.Task[Any]] = set()
        self._waiting = 0
        self._typical_seconds = 1.0
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poll: asyncio.Task[None] | None = None

    # Life

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Starts polling for replicas. Must be called in the event loop.

        Serve replaces what fails, so `on_failure` is never called.
        """
        self._loop = asyncio.get_running_loop()
        self._poll = self._loop.create_task(self._poll_replicas())

    def stop(self, timeout: float = 20.0) -> None:
        """Accepts no more work, waits `timeout` seconds for what is inside, then refuses the rest. Blocks."""
        self._stopping = True
        end = time.monotonic() + timeout
        while self._inside and time.monotonic() < end:
            time.sleep(0.02)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.refuse_all()
        if self._poll is not None:
            self._poll.cancel()

    def refuse_all(self) -> None:
        """Accepts no more work and refuses what is inside. Must be called in the event loop."""
        self._stopping = True
        for call in list(self._inside):
            call.cancel()

    async def _poll_replicas(self) -> None:
        """Polls the number of replicas. Once there is one, asks a replica for its devices and models."""
        while True:
            try:
                self._replicas = await asyncio.to_thread(self._count_replicas)
                if self._replicas and not self.catalogue:
                    about = await asyncio.wait_for(self._handle.describe.remote(), _DESCRIBE_S)
                    self.devices, self.catalogue = about["devices"], about["catalogue"]
            except Exception as error:  # the next poll may succeed, whatever this is
                log.warning("cannot get the state of the engines: %s", type(error).__name__)
            await asyncio.sleep(_POLL_S)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._poll is not None

    @property
    def ready(self) -> bool:
        """Whether a replica was running at the last poll and work is accepted."""
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
        """Requests that wait for another attempt. Those that wait inside a replica are not known here."""
        return self._waiting

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until the requests inside are done."""
        return self._typical_seconds * self.inside / max(1, self._replicas)

    # Admission

    def check_ready(self, room: bool = True) -> None:
        """Raises NotReadyError or (with `room`) QueueFullError if any work would be refused now."""
        if self._stopping:
            raise NotReadyError("the server is stopping; try another or come back later")
        if not self._replicas:
            raise NotReadyError("no engine is running yet; try again in a few seconds")
        if room and self.inside >= self.length:
            raise self._full()

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raises UnknownModelError if the weights `name` are not loaded."""
        check_model(name, self.models, who)

    def model_for(self, work: PictureRequest) -> str:
        """Returns the weights for `work`. Raises UnknownModelError if they are not loaded."""
        return model_for(work, self.models)

    # Work

    async def reconstruct(self, work: PictureRequest, deadline_s: float = math.inf) -> Answer:
        """Makes one picture within `deadline_s` seconds. Cancelling the call cancels the work.

        Raises as `Engine.reconstruct`.
        """
        if work.region is not None:
            check_region(work.region, work.container)
        self.model_for(work)
        self.check_ready()
        began = time.monotonic()
        call = asyncio.ensure_future(self._try_replicas(work, began + deadline_s))
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

    async def _try_replicas(self, work: PictureRequest, deadline: float) -> Answer:
        """Asks one replica after the other, until one answers or refuses for a reason that others share."""
        deaths = busy = 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise too_late()
            try:
                outcome = await self._call_replica(work, left)
            except _GONE as error:
                deaths += 1
                log.warning(
                    "a replica of the engine is gone (%s); another one is asked", type(error).__name__
                )
                if deaths == MAX_DEATHS:
                    raise NotReadyError(
                        f"{MAX_DEATHS} engines ended while they worked on this; it is not tried again",
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
                if busy > self._replicas:  # probably every replica was asked
                    raise refused
            self._waiting += 1
            try:
                await asyncio.sleep(_RETRY_S)
            finally:
                self._waiting -= 1

    async def _call_replica(self, work: PictureRequest, seconds: float) -> Answer | Refusal:
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
        """Always raises UsageError: replicas that start later would load the old weights again."""
        raise UsageError(
            "in a cluster weights are not swapped one engine at a time: change the settings and deploy again "
            "(serve deploy), which replaces the engines while others go on serving"
        )


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
