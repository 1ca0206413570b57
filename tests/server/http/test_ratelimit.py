"""The rate limit: which client is counted, what a refusal says, what is not counted, and that memory is bounded."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bbmr_server.http import ratelimit
from bbmr_server.http.ratelimit import RateLimit
from bbmr_server.observability.metrics import Metrics
from bbmr_shared.container import MEDIA_TYPE

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}
ALICE, BOB = "9f3b5c0d71e84a26b7d2c41e", "41c07e5b9a2d4f6cbb18e3a0"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The limiter's time in seconds, which tests move. Each look moves it by a microsecond."""
    now = [1000.0]

    def look() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr("throttled.utils.now_mono_f", look)
    return now


async def test_the_limit_passes_and_one_more_request_gets_429_with_retry_after(
    make_bench: Callable[..., Any], connect: Any, body: bytes, clock: list[float]
) -> None:
    async with connect(make_bench(rate_limit="3/minute")) as client:
        for left in (2, 1, 0):
            answer = await client.post("/reconstruct", content=body, headers=HEADERS)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"default";q=3;w=60'
            assert answer.headers["ratelimit"] == f'"default";r={left};t={60 - left * 20}'
        clock[0] += 3.5
        refused = await client.post("/reconstruct", content=body, headers=HEADERS)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["type"] == "urn:bbmr:problem:rate-limited"
        assert refused.headers["retry-after"] == str(math.ceil(20 - 3.5))
        assert refused.headers["ratelimit"] == '"default";r=0;t=57'
        clock[0] += 16.4  # a moment before
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 429
        clock[0] += 0.2
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 200
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 429


async def test_after_retry_after_one_request_passes(
    make_bench: Callable[..., Any], connect: Any, clock: list[float]
) -> None:
    async with connect(make_bench(rate_limit="5/second burst 2")) as client:
        for _ in range(2):
            assert (await client.get("/models")).status_code == 200
        refused = await client.get("/models")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        clock[0] += 1
        assert (await client.get("/models")).status_code == 200


async def test_probes_and_pages_are_not_counted(
    make_bench: Callable[..., Any], connect: Any, clock: list[float]
) -> None:
    async with connect(make_bench(rate_limit="1/hour")) as client:
        assert (await client.get("/models")).status_code == 200
        for path in ("/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json"):
            for _ in range(3):
                answer = await client.get(path)
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers
        assert (await client.get("/models")).status_code == 429
        assert (await client.get("/nothing")).status_code == 429  # unknown paths are counted
        assert (await client.post("/page/photo")).status_code == 429


async def test_each_key_has_its_own_rate(
    make_bench: Callable[..., Any], connect: Any, clock: list[float]
) -> None:
    async with connect(make_bench(rate_limit="2/hour", api_keys=f"alice {ALICE},{BOB}")) as client:

        async def ask(key: str) -> int:
            status: int = (await client.get("/models", headers={"X-API-Key": key})).status_code
            return status

        assert [await ask(ALICE) for _ in range(3)] == [200, 200, 429]
        assert [await ask(BOB) for _ in range(3)] == [200, 200, 429]
        # Requests with invalid keys share the rate of their address.
        assert [await ask(f"a-guess-{number:010}") for number in range(3)] == [403, 403, 429]
        assert (await client.get("/models")).status_code == 429
        page = (await client.get("/metrics")).text
    limited = {
        sample.labels["by"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "bbmr_rate_limited_total"
    }
    assert limited == {"key": 2, "address": 2}


async def test_a_page_of_another_origin_may_read_it(
    make_bench: Callable[..., Any], connect: Any, clock: list[float]
) -> None:
    origin = "https://photos.example"
    async with connect(make_bench(rate_limit="1/hour", cors_origins=origin)) as client:
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        for _ in range(3):
            assert (await client.options("/models", headers=preflight)).status_code == 200
        assert (await client.get("/models", headers={"Origin": origin})).status_code == 200
        refused = await client.get("/models", headers={"Origin": origin})
    assert refused.status_code == 429
    assert refused.headers["access-control-allow-origin"] == origin
    exposed = refused.headers["access-control-expose-headers"].split(", ")
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(exposed)


async def test_without_the_setting_nothing_is_counted(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench()) as client:
        for _ in range(50):
            answer = await client.get("/models")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


def test_a_request_is_refused_before_its_body_arrives(make_bench: Callable[..., Any], listen: Any) -> None:
    bench = make_bench(rate_limit="1/hour")
    with listen(bench.app) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/models").status_code == 200
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            head = f"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
            connection.sendall(f"{head}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n".encode())
            answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert re.search(rb"\r\nretry-after: \d+\r\n", answer.lower())


class Counter:
    """An app behind a limiter, called with the addresses of many clients."""

    def __init__(self, rate: str) -> None:
        self.passed = 0
        self.limiter = RateLimit(self._app, rate, Metrics())

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed += 1

    async def passes(self, address: str | None) -> bool:
        before = self.passed
        client = None if address is None else (address, 1)
        scope = {"type": "http", "method": "GET", "path": "/models", "headers": [], "client": client}

        async def send(message: Any) -> None:
            pass

        await self.limiter(scope, None, send)  # type: ignore[arg-type]
        return self.passed > before


async def test_an_ipv6_network_is_one_client(clock: list[float]) -> None:
    counter = Counter("1/hour")
    assert await counter.passes("2001:db8:1:2::1")
    assert not await counter.passes("2001:db8:1:2:ffff::9")
    assert await counter.passes("2001:db8:1:3::1")
    assert await counter.passes("192.0.2.1")
    assert not await counter.passes("::ffff:192.0.2.1")
    assert await counter.passes("192.0.2.2")
    assert await counter.passes("fe80::1%eth0")
    assert await counter.passes(None)
    assert not await counter.passes(None)


async def test_memory_is_bounded(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "CLIENTS", 100)
    counter = Counter("1/hour")
    for number in range(1000):
        assert await counter.passes(f"10.0.{number >> 8}.{number & 255}")
    assert not await counter.passes("10.0.3.231")  # the last is remembered
    assert await counter.passes("10.0.0.0")  # the first is forgotten
    held = counter.limiter._throttled._store._backend  # type: ignore[attr-defined]
    assert len(held.get_client()) == len(held.expire_info) == 100
