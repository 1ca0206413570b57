"""The interface of an engine, local or remote, for the rest of the server; and the observer of its events."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from .request import Answer, PictureRequest

WorkerState = Literal["loading", "ready", "dead", "stopped"]


class Observer:
    """Is called when something happens inside an engine; this one does nothing.

    Every method may be called from any thread.
    """

    def worker(self, device: str, state: WorkerState) -> None:
        """The worker of `device` has come into `state`; "dead" is followed by "loading" if it is restarted."""

    def batch(self, device: str, model: str, tiles: int, pixels: int, seconds: float) -> None:
        """A batch of `tiles` with `pixels` in all went through the network, which took the device `seconds`."""

    def memory(self, device: str, used: int) -> None:
        """The worker uses `used` bytes: of the GPU, or of resident memory on the CPU."""

    def halved(self, device: str, tiles: int) -> None:
        """A batch did not fit the memory of `device`; from now on at most `tiles` go together."""


class EngineLike(Protocol):
    """An engine: `bbmr_server.engine.Engine` in this process, or a stand-in for one that runs elsewhere.

    Attributes:
        observer: is called when something happens inside; may be set until `start`.
    """

    observer: Observer

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the weights that are served; the first is the default."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, such as "cpu" or "cuda:1"; each has one worker."""

    @property
    def catalogue(self) -> Mapping[str, Mapping[str, object]]:
        """Name → card of each model in `models`, as plain JSON data; "sha256" is always there."""

    @property
    def failure(self) -> BaseException | None:
        """Why the engine has ended for good, or None."""

    @property
    def started(self) -> bool:
        """Whether `start` was called."""

    @property
    def ready(self) -> bool:
        """Whether a worker is alive and warm, and requests are accepted."""

    @property
    def length(self) -> int:
        """Requests that may be inside at once."""

    @property
    def inside(self) -> int:
        """Requests accepted and not finished."""

    @property
    def waiting(self) -> int:
        """Requests accepted and not started."""

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until everything inside is done."""

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to load; returns at once. `on_failure` is called when `failure` has been set."""

    def stop(self, timeout: float = 20.0) -> None:
        """Accept nothing more, finish what is inside within `timeout` seconds, refuse the rest, end. Blocks."""

    def refuse_all(self) -> None:
        """Accept nothing more and refuse what is inside."""

    def check_ready(self, room: bool = True) -> None:
        """Raise `NotReadyError` or (with `room`) `QueueFullError` if any request would be refused now."""

    def check_model(self, name: str, who: str = "the request asks") -> None:
        """Raise `UnknownModelError` if the weights `name` are not loaded."""

    def model_for(self, request: PictureRequest) -> str:
        """The name of the weights for `request`. Raises `UnknownModelError` if they are not loaded."""

    async def reconstruct(self, request: PictureRequest, deadline_s: float = math.inf) -> Answer:
        """Make one picture. Cancelling the call gives the job up. Raises as `Engine.reconstruct`."""

    async def swap(self, name: str) -> Mapping[str, object]:
        """Read weights again and serve them from then on; returns their card. Raises as `Engine.swap`."""
