"""The count of the bytes in a store: failed writes, other servers, counts that take long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.store.backend import Backend
from bbmr_server.store.factory import open_directory
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import keep

pytestmark = pytest.mark.anyio


async def test_a_write_that_fails_is_not_counted(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError("Generic LocalFileSystem error: No space left on device (os error 28)")

    room = -(-len(body) // 4096) * 4096
    async with connect(make_bench(store=str(tmp_path / "store"), store_max_bytes=room)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Backend, "_put", full)
            for _ in range(3):
                check_problem(await keep(client, body), 507, "insufficient-storage")
        assert (await keep(client, body)).status_code == 201


async def test_a_store_that_cannot_be_counted_refuses_writes(
    make_bench: Callable[..., Any], connect: Any, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Backend, "_for_each", broken)
            check_problem(await keep(client, body), 503, "store-unavailable")
        assert (await keep(client, body)).status_code == 201


async def test_a_write_during_a_long_first_count_is_refused_soon(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    count = Backend._for_each

    def slow(self: Backend, take: Any) -> None:
        gate.wait(20)
        count(self, take)

    monkeypatch.setattr(Backend, "_for_each", slow)
    async with connect(make_bench(store=str(tmp_path / "store"), store_timeout_s=0.3)) as client:
        for _ in range(2):
            answer = await keep(client, body)
            check_problem(answer, 503, "store-unavailable")
            assert answer.headers["retry-after"] == "30"
        gate.set()
        while (answer := await keep(client, body)).status_code == 503:
            await asyncio.sleep(0.05)
        assert answer.status_code == 201


async def test_stopping_does_not_wait_for_a_long_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, ended = threading.Event(), threading.Event()

    def endless(*_: object, **__: object) -> Iterator[list[Any]]:
        while not ended.is_set():
            listed.set()
            yield []

    monkeypatch.setattr("obstore.list", endless)
    backend = open_directory(tmp_path / "store", "BBMR_STORE", 10.0)
    count = asyncio.ensure_future(backend.for_each(lambda entry: None))
    try:
        assert await asyncio.to_thread(listed.wait, 10)
        backend.close()
        await asyncio.wait_for(count, 10)
    finally:
        ended.set()


async def test_bytes_written_by_other_servers_are_counted(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = encode(Image.new("RGB", (64, 64), (9, 9, 9)), rate=2.0).to_bytes()
    third = encode(Image.new("RGB", (64, 64), (8, 9, 9)), rate=2.0).to_bytes()
    store = str(tmp_path / "store")
    room = -(-len(body) // 4096) * 4096 + 4096
    one, two = make_bench(store=store, store_max_bytes=room), make_bench(store=store, store_max_bytes=room)
    async with connect(one) as first, connect(two) as second:
        assert (await keep(first, other)).status_code == 201
        assert (await keep(second, body)).status_code == 201
        monkeypatch.setattr("bbmr_server.store.usage.RECOUNT_S", 0.0)
        kept = one.app.state.store.containers
        for _ in range(100):  # the first ones start the count and may still be accepted
            await keep(first, third)
            await asyncio.sleep(0.01)
            if kept.usage.used > room - 4096:
                break
        assert kept.usage.used >= room
        fourth = encode(Image.new("RGB", (64, 64), (7, 9, 9)), rate=2.0).to_bytes()
        check_problem(await keep(first, fourth), 507, "insufficient-storage")


async def test_a_count_includes_a_write_in_progress(
    make_bench: Callable[..., Any], connect: Any, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate = threading.Event(), threading.Event()
    write = Backend._put

    def slow(self: Backend, name: str, data: bytes) -> None:
        entered.set()
        gate.wait(10)
        write(self, name, data)

    other = encode(Image.new("RGB", (64, 64), (9, 9, 9)), rate=2.0).to_bytes()
    bench = make_bench(store=str(tmp_path / "store"))
    store = bench.app.state.store.containers
    async with connect(bench) as client:
        await keep(client, other)
        monkeypatch.setattr(Backend, "_put", slow)
        keeping = asyncio.ensure_future(keep(client, body))
        await asyncio.to_thread(entered.wait, 10)
        await store.usage.begin_count()
        gate.set()
        assert (await keeping).status_code == 201
        known = store.usage.used
        await store.usage.begin_count()
        assert known == store.usage.used == 4096 + -(-len(body) // 4096) * 4096
