"""The picture cache when something fails: damaged files, a disk that hangs, no room, deleted containers."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bbmr_server.engine import Answer
from bbmr_server.http.body import BodyMemory
from bbmr_server.store.backend import Backend
from bbmr_server.store.cache_index import pack, unpack
from bbmr_server.store.factory import open_directory
from bbmr_server.store.metrics import StoreMetrics
from bbmr_server.store.picture_cache import MAX_PENDING, PictureCache
from tests.server.conftest import written
from tests.server.store.helpers import files_in, keep

pytestmark = pytest.mark.anyio

PICTURE = Answer(bytes(1000), "image/png", 1, 1, "none")


async def exists() -> None:
    """The check of a container that still exists."""


async def test_a_damaged_picture_in_the_cache_is_made_again(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=cache)
    async with connect(bench) as client:
        await keep(client, body)
        good = await client.get(f"/containers/{digest}/image")
        for change in (lambda data: data[:-9] + b"x" + data[-8:], lambda data: data[:50], lambda data: b""):
            await written(bench)
            (path,) = cache.rglob("*.picture")
            path.write_bytes(change(path.read_bytes()))
            answer = await client.get(f"/containers/{digest}/image")
            assert (answer.status_code, answer.content) == (200, good.content)
            assert answer.headers["server-timing"] != "cache"
        assert (await client.get(f"/containers/{digest}/image")).headers["server-timing"] == "cache"


async def test_pictures_deleted_by_others_are_made_again(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=cache)
    async with connect(bench) as client:
        await keep(client, body)
        await client.get(f"/containers/{digest}/image")
        await written(bench)
        (path,) = cache.rglob("*.picture")
        path.unlink()
        answer = await client.get(f"/containers/{digest}/image")
        assert (answer.status_code, answer.headers["server-timing"] != "cache") == (200, True)
        await written(bench)
        assert path.exists()


async def test_a_cache_whose_disk_hangs_delays_nobody(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bbmr_server.store.picture_cache.INDEX_WAIT_S", 0.01)
    gate, fold = threading.Event(), Backend._for_each

    def hangs(self: Backend, take: Any) -> None:
        if self._cache:
            gate.wait(60)
        fold(self, take)

    monkeypatch.setattr(Backend, "_for_each", hangs)
    cache = tmp_path / "cache"
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=cache)
    pictures = bench.app.state.store.pictures
    place = f"/containers/{digest}"
    async with connect(bench) as client:
        try:
            await keep(client, body)
            for _ in range(2):
                answer = await client.get(f"{place}/image")
                assert (answer.status_code, answer.headers["server-timing"] != "cache") == (200, True)
                await written(bench)  # until the write times out, the next request finds it in memory
            assert (await client.delete(place)).status_code == 204
            await keep(client, body)
            assert not gate.is_set()
        finally:
            gate.set()
        await pictures.begin()
        await client.get(f"{place}/image")
        assert (await client.get(f"{place}/image")).headers["server-timing"] == "cache"


async def test_a_deletion_before_the_index_is_built_removes_the_pictures(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path
) -> None:
    settings = {"store": str(tmp_path / "store"), "picture_cache": tmp_path / "cache"}
    bench = make_bench(**settings)
    async with connect(bench) as client:
        await keep(client, body)
        await client.get(f"/containers/{digest}/image")
        await written(bench)
    assert len(files_in(tmp_path / "cache")) == 1
    pictures = make_bench(**settings).app.state.store.pictures
    gate, fold = threading.Event(), pictures._backend._for_each
    pictures._backend._for_each = lambda take: (gate.wait(10), fold(take))
    pictures.begin()
    pictures._indexing_since = float("-inf")  # requests do not wait for it
    await pictures.forget(digest)
    gate.set()
    await pictures.begin()
    assert files_in(tmp_path / "cache") == []


async def test_responses_do_not_wait_for_the_cache_to_be_written(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, put = threading.Event(), Backend._put

    def slow(self: Backend, name: str, data: bytes) -> None:
        if self._cache:
            gate.wait(60)
        put(self, name, data)

    monkeypatch.setattr(Backend, "_put", slow)
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=tmp_path / "cache")
    state, place = bench.app.state.bbmr, f"/containers/{digest}"
    async with connect(bench) as client:
        try:
            await keep(client, body)
            first = await client.get(f"{place}/image")
            calls = bench.network.calls
            second = await client.get(f"{place}/image")
            assert (second.headers["server-timing"], second.content) == ("cache", first.content)
            assert bench.network.calls == calls
            assert state.bodies.used >= len(first.content)  # it is still in memory
            for side in range(1, MAX_PENDING + 5):
                assert (await client.get(f"{place}/image?max_side={side}")).status_code == 200
            assert len(bench.app.state.store.pictures._tasks) == MAX_PENDING
            assert (await client.delete(place)).status_code == 204
            assert (await keep(client, body)).status_code == 201
            assert (await client.delete(place)).status_code == 204
            assert not gate.is_set()
        finally:
            gate.set()
        await written(bench)
    assert state.bodies.used == 0
    assert files_in(tmp_path / "cache") == []  # its container was deleted before it was written


async def test_a_picture_whose_container_is_deleted_while_it_is_written_does_not_stay(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=tmp_path / "cache")
    store = bench.app.state.store
    entered, gate, put = threading.Event(), threading.Event(), store.pictures._backend._put

    def slow(name: str, data: bytes) -> None:
        entered.set()
        gate.wait(60)
        put(name, data)

    store.pictures._backend._put = slow
    async with connect(bench) as client:
        try:
            await keep(client, body)
            await client.get(f"/containers/{digest}/image")
            await asyncio.to_thread(entered.wait, 10)
            await store.containers.delete(digest)  # as another server does: this cache is not informed
        finally:
            gate.set()
        await written(bench)
    assert files_in(tmp_path / "cache") == []


async def test_a_cache_whose_reads_hang_is_paused(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bbmr_server.store.picture_cache.DISK_TIMEOUT_S", 0.05)
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=tmp_path / "cache")
    pictures, place = bench.app.state.store.pictures, f"/containers/{digest}/image"
    gate, get, asked = threading.Event(), pictures._backend._get, []

    def hangs(name: str) -> Any:
        asked.append(name)
        gate.wait(60)
        return get(name)

    async with connect(bench) as client:
        try:
            await keep(client, body)
            await client.get(place)
            await written(bench)
            pictures._backend._get = hangs
            for _ in range(3):
                answer = await client.get(place)
                assert (answer.status_code, answer.headers["server-timing"] != "cache") == (200, True)
            assert len(asked) == 1
        finally:
            gate.set()
        monkeypatch.setattr("bbmr_server.store.picture_cache.DISK_TIMEOUT_S", 10.0)
        pictures._paused_until = 0.0  # the pause is over
        assert (await client.get(place)).headers["server-timing"] == "cache"


@pytest.mark.parametrize("last", [b"", b"\n", b"\n\n{}"])
def test_a_picture_is_packed_and_unpacked_with_one_copy_each(last: bytes) -> None:
    size = 4 << 20
    picture = Answer(bytes(size) + last, "image/png", 3, 2, "none\n")

    def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
        tracemalloc.start()
        try:
            return work(), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    data, packing = peak_of(lambda: pack(picture))
    found, unpacking = peak_of(lambda: unpack(memoryview(data)))
    assert found == picture
    assert packing < 1.5 * size
    assert unpacking < 1.5 * size


@pytest.mark.parametrize(("limit", "memory"), [(1 << 20, 5), (5, 1 << 20)])
async def test_a_picture_that_does_not_fit_is_not_cached(tmp_path: Path, limit: int, memory: int) -> None:
    backend = open_directory(tmp_path, "BBMR_PICTURE_CACHE", 10.0, cache=True)
    pictures = PictureCache(backend, limit, StoreMetrics(CollectorRegistry()))
    pictures.keep("a" * 64, "0" * 32, PICTURE, BodyMemory(memory), exists)
    assert await pictures.get("a" * 64, "0" * 32) is None
    assert not pictures._tasks
    pictures.close()


async def test_closing_a_cache_drops_unwritten_pictures(tmp_path: Path) -> None:
    backend = open_directory(tmp_path, "BBMR_PICTURE_CACHE", 60.0, cache=True)
    pictures, memory = PictureCache(backend, 1 << 20, StoreMetrics(CollectorRegistry())), BodyMemory(1 << 20)
    entered, gate, put = threading.Event(), threading.Event(), backend._put
    backend._put = lambda name, data: (entered.set(), gate.wait(60), put(name, data))[2]  # type: ignore[method-assign,func-returns-value]
    for digest in ("a", "b", "c"):
        pictures.keep(digest * 64, "0" * 32, PICTURE, memory, exists)
    await asyncio.to_thread(entered.wait, 10)
    tasks = [*pictures._tasks]
    assert len(tasks) == 3
    assert memory.used >= 3 * len(PICTURE.data)
    pictures.close()
    try:
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    finally:
        gate.set()
    assert [type(one) for one in ended] == 3 * [asyncio.CancelledError]
    assert memory.used == 0
    await asyncio.to_thread(backend._threads.shutdown)
    assert files_in(tmp_path) == []
