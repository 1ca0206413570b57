"""A load generator: it sends requests to a server and records the outcome of each. `command` is its command line.

Closed loop: N clients, each of which sends its next request after its answer. Open loop: a fixed number of requests per
second, whether answers come or not. Its times count from when a request was due, so that a late generator does not hide
a late server.
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

TIMEOUT_S = 300.0
"""Seconds without an answer after which a request counts as unanswered."""


@dataclass(frozen=True)
class LoadRequest:
    """One request for a picture: a container, the query parameters and the type of the answer."""

    body: bytes = field(repr=False)
    accept: str = "image/png"
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request.

    Attributes:
        at: when it was due, by the monotonic clock.
        seconds: from then to the last byte of its answer.
        status: 0 if no whole answer came.
        wrong: what is wrong with the answer, or why there is none; empty if it is right.
    """

    request: LoadRequest
    at: float
    seconds: float
    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wrong: str = ""


Check = Callable[[LoadRequest, httpx.Response], str]
"""Returns what is wrong with an answer of any status; an empty string if it is right."""


async def closed_loop(
    url: str,
    requests: Iterable[LoadRequest],
    clients: int,
    check: Check | None = None,
    done: Callable[[Outcome], object] | None = None,
    patient: bool = False,
) -> list[Outcome]:
    """Send all `requests` with `clients` at a time. `done` receives each outcome.

    A `patient` client that is refused waits for the time in Retry-After before it sends its next request.
    """
    outcomes: list[Outcome] = []
    left = iter(requests)
    async with _sender(url, check) as send:

        async def client() -> None:
            for request in left:
                outcomes.append(await send(request, time.monotonic()))
                if done is not None:
                    done(outcomes[-1])
                if patient:
                    await asyncio.sleep(float(outcomes[-1].headers.get("Retry-After", 0)))

        await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


async def open_loop(
    url: str, requests: Iterable[LoadRequest], per_second: float, check: Check | None = None
) -> list[Outcome]:
    """Send `per_second` requests per second, however many are unanswered."""
    async with _sender(url, check) as send, asyncio.TaskGroup() as group:
        began = time.monotonic()
        tasks = []
        for index, request in enumerate(requests):
            due = began + index / per_second
            await asyncio.sleep(due - time.monotonic())
            tasks.append(group.create_task(send(request, due)))
    return [task.result() for task in tasks]


@asynccontextmanager
async def _sender(url: str, check: Check | None) -> AsyncIterator[Callable[[LoadRequest, float], Any]]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=5)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False, limits=limits) as client:

        async def send(request: LoadRequest, due: float) -> Outcome:
            headers = {"Content-Type": MEDIA_TYPE, "Accept": request.accept}
            try:
                answer = await client.post(
                    "/reconstruct", content=request.body, params=dict(request.params), headers=headers
                )
            except httpx.HTTPError as error:
                return Outcome(request, due, time.monotonic() - due, 0, wrong=repr(error))
            seconds = time.monotonic() - due
            wrong = check(request, answer) if check is not None else ""
            return Outcome(request, due, seconds, answer.status_code, answer.headers, wrong)

        yield send
