"""What requests for stored containers hold in memory, and where headers are read."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bbmr_server import app_state
from bbmr_server.store import container_store
from bbmr_server.store.backend import Backend
from bbmr_shared.container import Container
from bbmr_shared.container.header import Header
from tests.server.store.helpers import HEADERS, fill

pytestmark = pytest.mark.anyio


async def test_headers_are_read_off_the_loop(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, threads = app_state.read_header, []

    def noted(*given: Any) -> Header:
        threads.append(threading.current_thread().name)
        return read(*given)

    monkeypatch.setattr(app_state, "read_header", noted)
    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        await fill(client, body)
        assert (await client.head(f"/containers/{digest}/image")).status_code == 200
    assert [name.startswith("bbmr-read") for name in threads] == [True]


@pytest.mark.parametrize("route", ["/reconstruct", "/containers", "/containers/{}/image"])
async def test_a_container_counts_twice_only_while_it_is_read(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), max_body_bytes=len(body), body_memory_bytes=len(body))
    memory, read, reconstruct = bench.app.state.bbmr.bodies, Container.from_bytes, bench.engine.reconstruct
    reading, later = [], []

    def noted(*given: Any) -> Container:
        reading.append(memory.used)
        return read(*given)

    def noting(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def note(*given: Any) -> Any:
            later.append(memory.used)
            return await work(*given)

        return note

    async with connect(bench) as client:
        if "image" in route:
            await fill(client, body)
        monkeypatch.setattr(Container, "from_bytes", noted)
        monkeypatch.setattr(bench.engine, "reconstruct", noting(reconstruct))
        monkeypatch.setattr(container_store.ContainerStore, "put", noting(container_store.ContainerStore.put))
        if "image" in route:
            answer = await client.get(route.format(digest))
        else:
            answer = await client.post(route, content=body, headers=HEADERS)
    assert answer.status_code in (200, 201)
    assert reading == [2 * len(body)]
    assert later == [len(body)]
    assert memory.used == 0


async def test_a_parsed_container_is_released_before_its_file_is_stored(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, put, made = Container.from_bytes, container_store.ContainerStore.put, []

    def noted(*given: Any) -> Container:
        container = read(*given)
        made.append(weakref.ref(container))
        return container

    async def later(*given: Any) -> bool:
        await asyncio.to_thread(wait_for, lambda: made[0]() is None)  # the reader's thread holds it longest
        return await put(*given)

    monkeypatch.setattr(Container, "from_bytes", noted)
    monkeypatch.setattr(container_store.ContainerStore, "put", later)
    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        await fill(client, body)
    assert len(made) == 1


@pytest.mark.parametrize("route", ["/reconstruct", "/containers/{}/image"])
async def test_a_file_is_released_once_it_is_parsed(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    let_go = threading.Event()

    class File(bytes):
        def __del__(self) -> None:
            let_go.set()

    read_body, get = app_state.read_body, Backend._get

    async def received(*given: Any, **options: Any) -> bytes:
        return File(await read_body(*given, **options))

    def fetched(self: Backend, name: str) -> memoryview:
        found = get(self, name)
        assert found is not None
        return memoryview(File(found))

    bench = make_bench(store=str(tmp_path / "store"))
    async with connect(bench) as client:
        await fill(client, body)
        monkeypatch.setattr(app_state, "read_body", received)
        monkeypatch.setattr(Backend, "_get", fetched)
        bench.network.hold()
        if route == "/reconstruct":
            asking = asyncio.ensure_future(client.post(route, content=body, headers=HEADERS))
        else:
            asking = asyncio.ensure_future(client.get(route.format(digest)))
        assert await asyncio.to_thread(bench.network.entered.wait, 10)
        assert await asyncio.to_thread(let_go.wait, 5)
        bench.network.gate.set()
        assert (await asking).status_code == 200
