"""Answers in parts: framing, refusals before and between parts, memory, time."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect

from bbmr_server.app_state import get_state
from bbmr_server.errors import QueueFullError
from bbmr_server.http.parts import Emit, PartsResponse
from bbmr_server.routes.reconstruct import cancel_on_disconnect
from bbmr_shared.errors import PictureError
from tests.server.parts import read_parts

pytestmark = pytest.mark.anyio
Work = Callable[[Emit], Coroutine[Any, Any, None]]


def serve(app: FastAPI, work: Work) -> None:
    """Adds the route `/parts` that answers with what `work` emits."""

    async def route(request: Request) -> PartsResponse:
        async def watched(emit: Emit) -> None:
            await cancel_on_disconnect(request, work(emit))

        return PartsResponse(request, get_state(request).bodies, watched)

    app.add_api_route("/parts", route)


async def test_parts_are_lines_with_bytes(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench()
    large = bytes(range(256)) * 1000

    async def work(emit: Emit) -> None:
        emit("one", step="a\nb")
        emit("two", large, width=3)
        emit("three", b"")

    serve(bench.app, work)
    async with connect(bench) as client:
        answer = await client.get("/parts")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers
    assert read_parts(answer.content) == [
        ({"part": "one", "step": "a\nb"}, None),
        ({"part": "two", "width": 3, "bytes": len(large)}, large),
        ({"part": "three", "bytes": 0}, b""),
    ]
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_refusal_before_the_first_part_is_a_problem_document(
    make_bench: Callable[..., Any], connect: Any
) -> None:
    bench = make_bench()

    async def work(emit: Emit) -> None:
        raise PictureError("the photo is torn")

    serve(bench.app, work)
    async with connect(bench) as client:
        answer = await client.get("/parts")
    assert (answer.status_code, answer.json()["detail"]) == (400, "the photo is torn")


@pytest.mark.parametrize(
    ("error", "status", "slug", "wait"),
    [
        (PictureError("torn"), 400, "unreadable-picture", None),
        (QueueFullError("full", retry_after=7), 429, "queue-full", 7),
    ],
)
async def test_a_later_refusal_is_the_last_part(
    make_bench: Callable[..., Any], connect: Any, error: Exception, status: int, slug: str, wait: int | None
) -> None:
    bench = make_bench()

    async def work(emit: Emit) -> None:
        emit("one")
        raise error

    serve(bench.app, work)
    async with connect(bench) as client:
        answer = await client.get("/parts")
        metrics = (await client.get("/metrics")).text
    (_, _), (problem, _) = read_parts(answer.content)
    assert (problem["part"], problem["status"], problem["retry_after"]) == ("problem", status, wait)
    assert problem["type"] == f"urn:bbmr:problem:{slug}"
    assert problem["detail"] == str(error)
    assert f'problem="{slug}"' in metrics or f'type="{slug}"' in metrics


def test_an_unexpected_error_cuts_the_answer_off(make_bench: Callable[..., Any], listen: Any) -> None:
    bench = make_bench()

    async def work(emit: Emit) -> None:
        emit("one")
        await asyncio.sleep(0.05)
        raise RuntimeError("a fault")

    serve(bench.app, work)
    with listen(bench.app) as port, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{port}/parts", timeout=10)
    assert bench.app.state.bbmr.bodies.used == 0


def test_work_between_parts_is_not_the_clients_delay(make_bench: Callable[..., Any], listen: Any) -> None:
    bench = make_bench(send_timeout_s=0.2)

    async def work(emit: Emit) -> None:
        emit("one")
        await asyncio.sleep(1)
        emit("two", b"done")

    serve(bench.app, work)
    with listen(bench.app) as port:
        began = time.monotonic()
        with httpx.stream("GET", f"http://127.0.0.1:{port}/parts", timeout=10) as answer:
            chunks = answer.iter_bytes()
            first = next(chunks)
            assert json.loads(first) == {"part": "one"}  # sent while the work goes on
            assert time.monotonic() - began < 0.9
            rest = b"".join(chunks)
    assert read_parts(first + rest)[1] == ({"part": "two", "bytes": 4}, b"done")


def test_a_client_that_does_not_read_its_parts_is_cut_off(
    make_bench: Callable[..., Any], listen: Any, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(send_timeout_s=0.5)
    memory = bench.app.state.bbmr.bodies
    size = 20_000_000

    async def work(emit: Emit) -> None:
        emit("one", bytes(size))

    serve(bench.app, work)
    with listen(bench.app) as port, socket.socket() as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.connect(("127.0.0.1", port))
        rude.sendall(b"GET /parts HTTP/1.1\r\nHost: a\r\n\r\n")
        assert rude.recv(15) == b"HTTP/1.1 200 OK"
        assert memory.used == size
        wait_for(lambda: memory.used == 0, 5)


def test_the_work_ends_when_the_client_leaves(
    make_bench: Callable[..., Any], listen: Any, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    ended: list[type[BaseException]] = []

    async def work(emit: Emit) -> None:
        emit("one")
        try:
            await asyncio.sleep(20)
        except BaseException as error:
            ended.append(type(error))
            raise

    serve(bench.app, work)
    with listen(bench.app) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /parts HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        wait_for(lambda: ended)
    assert ended == [asyncio.CancelledError]


async def test_a_client_that_leaves_before_the_first_part_is_no_fault(
    make_bench: Callable[..., Any], connect: Any
) -> None:
    bench = make_bench()

    async def work(emit: Emit) -> None:
        raise ClientDisconnect

    serve(bench.app, work)
    async with connect(bench) as client:
        assert (await client.get("/parts")).status_code == 499
