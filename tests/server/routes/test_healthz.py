"""`/healthz` answers whatever the state of engine, queue and disk."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bbmr_shared.container import MEDIA_TYPE

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}


class Untouchable:
    """An engine that fails the test if anything of it is used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"engine.{name} was asked")


async def test_it_asks_neither_the_engine_nor_a_disk(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench(start=False)
    touched: list[tuple[str, object]] = []
    listening = [False]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening[0] and event in (
            "open",
            "os.listdir",
            "os.scandir",
            "os.remove",
            "os.mkdir",
            "os.truncate",
        ):
            touched.append((event, arguments[0]))

    sys.addaudithook(hook)  # it cannot be removed; after the test it ignores all events
    async with connect(bench) as client:
        assert (await client.get("/healthz")).status_code == 200
        bench.app.state.bbmr.engine = Untouchable()
        listening[0] = True
        try:
            answers = [await client.get("/healthz"), await client.head("/healthz")]
        finally:
            listening[0] = False
    assert [answer.status_code for answer in answers] == [200, 200]
    assert touched == []


async def test_it_answers_while_the_queue_is_full(
    make_bench: Callable[..., Any], connect: Any, body: bytes, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(queue_length=2, rate_limit="10/hour")
    bench.network.hold()
    async with connect(bench) as client:

        async def post() -> httpx.Response:
            answer: httpx.Response = await client.post("/reconstruct", content=body, headers=HEADERS)
            return answer

        waiting = [asyncio.ensure_future(post()) for _ in range(2)]
        while (await client.get("/readyz")).json()["queue"] < 2:
            await asyncio.sleep(0.005)
        refused = await asyncio.gather(*(post() for _ in range(20)))
        assert {answer.status_code for answer in refused} == {429}
        for _ in range(20):
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
        bench.network.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
