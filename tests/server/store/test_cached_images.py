"""/containers/{digest}/image with a picture cache: hits, waiting for one another, eviction, deletion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bbmr_server.engine import Answer, PictureRequest
from bbmr_server.store.picture_cache import PictureCache
from tests.server.conftest import written
from tests.server.fakes import fake_model
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import fill

pytestmark = pytest.mark.anyio


async def test_the_cache_answers_the_second_request(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    settings = {"picture_cache": tmp_path / "cache"}
    bench = make_store(**settings)
    async with connect(bench) as client:
        await fill(client, body)
        first = await client.get(f"{place}/image")
        calls = bench.network.calls
        second = await client.get(f"{place}/image")
        assert bench.network.calls == calls
        assert second.content == first.content
        kept = ("etag", "content-type", "vary", "cache-control", "bbmr-model", "bbmr-width", "bbmr-height")
        assert [second.headers[name] for name in kept] == [first.headers[name] for name in kept]
        assert second.headers["server-timing"] == "cache"
        page = (await client.get("/metrics")).text
        await written(bench)
    assert 'bbmr_cache_requests_total{outcome="hit"} 1.0' in page
    assert 'bbmr_cache_requests_total{outcome="miss"} 1.0' in page
    later = make_store(**settings)
    calls = later.network.calls
    async with connect(later) as client:
        assert (await client.get(f"{place}/image")).content == first.content
    assert later.network.calls == calls


async def test_cached_pictures_are_not_read_if_the_memory_is_full(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    bodies = bench.app.state.bbmr.bodies
    async with connect(bench) as client:
        await fill(client, body)
        first = await client.get(f"{place}/image")
        with bodies.share() as others:  # responses that are sent slowly
            others.hold(bodies.limit - len(first.content) // 2)
            refused = await client.get(f"{place}/image")
            check_problem(refused, 429, "queue-full")
            assert int(refused.headers["retry-after"]) >= 1
        again = await client.get(f"{place}/image")
        await written(bench)
    assert (again.status_code, again.headers["server-timing"]) == (200, "cache")
    assert bodies.used == 0


async def test_concurrent_requests_make_a_picture_once(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", queue_length=2)
    async with connect(bench) as client:
        await fill(client, body)
        calls = bench.network.calls
        answers = await asyncio.gather(*(client.get(f"{place}/image") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert bench.network.calls == calls + 1


async def test_waiting_for_the_same_picture_ends_at_the_deadline(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", deadline_s=0.4)
    async with connect(bench) as client:
        await fill(client, body)
        bench.network.hold()
        answers = await asyncio.gather(*(client.get(f"{place}/image") for _ in range(3)))
        for answer in answers:
            check_problem(answer, 504, "deadline")
        bench.network.gate.set()
        assert (await client.get(f"{place}/image")).status_code == 200


async def test_time_spent_waiting_counts_against_the_deadline(
    make_store: Any,
    connect: Any,
    body: bytes,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    making, deadlines = PictureCache.making, []

    @contextlib.asynccontextmanager
    async def waiting(self: PictureCache, *arguments: Any) -> AsyncIterator[None]:
        await asyncio.sleep(0.2)
        async with making(self, *arguments):
            yield

    monkeypatch.setattr(PictureCache, "making", waiting)
    bench = make_store(picture_cache=tmp_path / "cache", deadline_s=20)
    reconstruct = bench.engine.reconstruct

    async def noted(work: PictureRequest, deadline_s: float) -> Answer:
        deadlines.append(deadline_s)
        return await reconstruct(work, deadline_s)

    monkeypatch.setattr(bench.engine, "reconstruct", noted)
    async with connect(bench) as client:
        await fill(client, body)
        assert (await client.get(f"{place}/image")).status_code == 200
    assert 0 < deadlines[0] < 19.9


async def test_a_cache_hit_does_not_wait_for_others(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", deadline_s=5)
    pictures = bench.app.state.store.pictures
    async with connect(bench) as client:
        await fill(client, body)
        first = await client.get(f"{place}/image")
        await written(bench)
        async with pictures.making(first.headers["etag"][3:-1], 1.0):
            again = await client.get(f"{place}/image")
    assert (again.status_code, again.headers["server-timing"]) == (200, "cache")
    assert again.content == first.content


async def test_deleting_a_container_deletes_its_cached_pictures(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bench = make_store(picture_cache=cache)
    async with connect(bench) as client:
        await fill(client, body)
        for side in (10, 20, 30):
            await client.get(f"{place}/image?max_side={side}")
        await written(bench)
        assert len(list(cache.rglob("*.picture"))) == 3
        await client.delete(place)
        assert list(cache.rglob("*.picture")) == []
        assert "bbmr_cache_bytes 0.0" in (await client.get("/metrics")).text


async def test_a_container_deleted_during_the_work_leaves_no_picture(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path, wait_for: Any
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    async with connect(bench) as client:
        await fill(client, body)
        bench.network.hold()
        getting = asyncio.ensure_future(client.get(f"{place}/image"))
        await asyncio.to_thread(bench.network.entered.wait, 10)
        await client.delete(place)
        bench.network.gate.set()
        assert (await getting).status_code == 200
        await written(bench)
    assert list((tmp_path / "cache").rglob("*.picture")) == []


async def test_the_cache_evicts_the_least_recently_used_picture(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bench = make_store(picture_cache=cache)
    async with connect(bench) as client:
        await fill(client, body)
        await client.get(f"{place}/image?region=0,0,50,50")
        await written(bench)
        (only,) = cache.rglob("*.picture")
        size = -(-only.stat().st_size // 4096) * 4096
    bench = make_store(picture_cache=cache, picture_cache_bytes=int(2.5 * size))
    async with connect(bench) as client:

        async def hits(x: int) -> bool:
            answer = await client.get(f"{place}/image?region={x},0,50,50")
            assert answer.status_code == 200
            await written(bench)
            return answer.headers["server-timing"] == "cache"

        assert await hits(0)  # cached by the server before
        assert not await hits(1)
        assert await hits(0)
        assert not await hits(2)  # evicts the picture at 1
        assert await hits(0)
        assert await hits(2)
        assert not await hits(1)
    assert sum(path.stat().st_size for path in cache.rglob("*.picture")) <= 2.5 * size


async def test_a_cache_too_small_for_a_picture(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    async with connect(make_store(picture_cache=tmp_path / "cache", picture_cache_bytes=100)) as client:
        await fill(client, body)
        for _ in range(2):
            assert (await client.get(f"{place}/image")).status_code == 200
    assert list((tmp_path / "cache").rglob("*.picture")) == []


async def test_a_picture_made_during_a_swap_is_not_cached(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    async with connect(bench) as client:
        await fill(client, body)
        bench.network.hold()
        getting = asyncio.ensure_future(client.get(f"{place}/image"))
        await asyncio.to_thread(bench.network.entered.wait, 10)
        bench.engine.model_store.serve(fake_model("light", "2"))
        bench.network.gate.set()
        answer = await getting
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert list((tmp_path / "cache").rglob("*.picture")) == []
