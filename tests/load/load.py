"""A load generator: requests in, what became of each out.

Closed loop: N clients, each sends its next request when it has its answer. Open loop: so many requests a second,
whether answers come or not; seconds then count from when a request was due, so that a late generator does not hide a
late server. `load_command` makes a command of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from bbmr_shared.container import MEDIA_TYPE

PATIENCE_S = 300.0
"""No answer after so long is none at all."""


@dataclass(frozen=True)
class Ask:
    """One request for a picture: a container, what is wanted of it, and the type of the answer."""

    body: bytes = field(repr=False)
    accept: str = "image/png"
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        at: when it was due, by the monotonic clock.
        seconds: from then to the last byte of its answer.
        status: 0 where no whole answer came.
        wrong: what is wrong with the answer, or why there is none; empty where all is well.
    """

    ask: Ask
    at: float
    seconds: float
    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wrong: str = ""


Check = Callable[[Ask, httpx.Response], str]
"""Says what is wrong with an answer, of whatever status; nothing where it is right."""


async def closed_loop(
    url: str,
    asks: Iterable[Ask],
    clients: int,
    check: Check | None = None,
    done: Callable[[Outcome], object] | None = None,
    patient: bool = False,
) -> list[Outcome]:
    """Send every one of `asks` with `clients` at a time; `done` is told of each outcome.

    A `patient` client that is refused waits, for as long as the refusal says, before it sends its next request.
    """
    outcomes: list[Outcome] = []
    left = iter(asks)
    async with _sender(url, check) as send:

        async def client() -> None:
            for ask in left:
                outcomes.append(await send(ask, time.monotonic()))
                if done is not None:
                    done(outcomes[-1])
                if patient:
                    await asyncio.sleep(float(outcomes[-1].headers.get("Retry-After", 0)))

        await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


async def open_loop(
    url: str, asks: Iterable[Ask], per_second: float, check: Check | None = None
) -> list[Outcome]:
    """Send every one of `asks` at its time, `per_second` of them, however many are under way."""
    async with _sender(url, check) as send, asyncio.TaskGroup() as group:
        began = time.monotonic()
        tasks = []
        for index, ask in enumerate(asks):
            due = began + index / per_second
            await asyncio.sleep(due - time.monotonic())
            tasks.append(group.create_task(send(ask, due)))
    return [task.result() for task in tasks]


@asynccontextmanager
async def _sender(url: str, check: Check | None) -> AsyncIterator[Callable[[Ask, float], Any]]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=5)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False, limits=limits) as client:

        async def send(ask: Ask, due: float) -> Outcome:
            headers = {"Content-Type": MEDIA_TYPE, "Accept": ask.accept}
            try:
                answer = await client.post(
                    "/reconstruct", content=ask.body, params=dict(ask.params), headers=headers
                )
            except httpx.HTTPError as error:
                return Outcome(ask, due, time.monotonic() - due, 0, wrong=repr(error))
            seconds = time.monotonic() - due
            wrong = check(ask, answer) if check is not None else ""
            return Outcome(ask, due, seconds, answer.status_code, answer.headers, wrong)

        yield send
