"""/containers/{digest}/image: the picture at an address, its entity tag, HEAD, and the cache of pictures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageChops

from bbmr_client.encoding.encoder import encode
from bbmr_server.engine import Answer, Work
from bbmr_server.store.picture_cache import PictureCache
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import MEDIA_TYPE, Container
from tests.server.conftest import written
from tests.server.fakes import fake_weights
from tests.server.routes.test_reconstruct import check_problem

pytestmark = pytest.mark.anyio

HEADERS = {"Content-Type": MEDIA_TYPE}


@pytest.fixture
def place(body: bytes) -> str:
    return f"/containers/{hashlib.sha256(body).hexdigest()}"


@pytest.fixture
def make_store(make_bench: Callable[..., Any], tmp_path: Path, body: bytes, place: str) -> Callable[..., Any]:
    """`make_store(**settings)`: a server's bench whose store, in `tmp_path`, may be filled with `fill`."""

    def make(**settings: Any) -> Any:
        return make_bench(store=str(tmp_path / "store"), **settings)

    return make


async def fill(client: httpx.AsyncClient, place: str, body: bytes) -> None:
    assert (await client.put(place, content=body, headers=HEADERS)).status_code in (200, 201)


async def test_a_picture_at_an_address(
    make_store: Any, connect: Any, container: Container, body: bytes, place: str
) -> None:
    async with connect(make_store()) as client:
        await fill(client, place, body)
        answer = await client.get(f"{place}/image")
        posted = await client.post("/reconstruct", content=body, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["etag"].startswith('W/"')
    assert answer.headers["bbmr-model"] == "light"
    assert (answer.headers["bbmr-width"], answer.headers["bbmr-height"]) == ("200", "150")
    assert answer.content == posted.content
    assert ImageChops.difference(Image.open(io.BytesIO(answer.content)), preview(container)).getbbox() is None


def test_the_document_says_the_same_of_both_routes_with_pictures(make_store: Any) -> None:
    paths = make_store(start=False).app.openapi()["paths"]
    stored = paths["/containers/{digest}/image"]["get"]["responses"]["200"]
    posted = paths["/reconstruct"]["post"]["responses"]["200"]
    assert stored["content"] == posted["content"]
    for name, said in posted["headers"].items():
        assert stored["headers"][name]["schema"] == said["schema"], name


async def test_format_wins_over_accept(make_store: Any, connect: Any, body: bytes, place: str) -> None:
    async with connect(make_store()) as client:
        await fill(client, place, body)
        for form, mime in (("jpeg", "image/jpeg"), ("webp", "image/webp"), ("png", "image/png")):
            answer = await client.get(
                f"{place}/image?format={form}", headers={"Accept": "image/avif, text/html"}
            )
            assert (answer.status_code, answer.headers["content-type"]) == (200, mime)
            assert "vary" not in answer.headers
        by_accept = await client.get(f"{place}/image", headers={"Accept": "image/avif,image/webp,*/*;q=0.8"})
        assert by_accept.headers["content-type"] == "image/webp"
        check_problem(await client.get(f"{place}/image?format=gif"), 422, "invalid-request")
        refused = await client.get(f"{place}/image", headers={"Accept": "text/html"})
        assert (
            "can be made" in check_problem(refused, 406, "not-acceptable")["detail"]
        )  # its size is no matter


async def test_region_max_side_and_model(make_store: Any, connect: Any, body: bytes, place: str) -> None:
    async with connect(make_store()) as client:
        await fill(client, place, body)
        part = await client.get(f"{place}/image?region=120,40,50,60")
        assert Image.open(io.BytesIO(part.content)).size == (50, 60)
        small = await client.get(f"{place}/image?max_side=20")
        assert Image.open(io.BytesIO(small.content)).size == (20, 15)
        assert small.headers["bbmr-model"] == "none"
        outside = await client.get(f"{place}/image?region=190,0,50,50")
        document = check_problem(outside, 422, "invalid-request")
        assert document["errors"][0]["field"] == "region"
        check_problem(await client.get(f"{place}/image?model=nobody"), 422, "unknown-model")


async def test_no_container_no_picture(make_store: Any, connect: Any) -> None:
    async with connect(make_store()) as client:
        check_problem(await client.get(f"/containers/{'0' * 64}/image"), 404, "not-found")
        head = await client.head(f"/containers/{'0' * 64}/image")
        assert head.status_code == 404


async def test_the_tag_names_what_the_picture_depends_on(
    make_store: Any, connect: Any, body: bytes, place: str, photo: Image.Image
) -> None:
    other = encode(photo, rate=2.0).to_bytes()
    other_place = f"/containers/{hashlib.sha256(other).hexdigest()}"
    bench = make_store(model=("light", "heavy"))
    addresses = [
        f"{place}/image",
        f"{place}/image?format=webp",
        f"{place}/image?region=0,0,50,50",
        f"{place}/image?max_side=20",
        f"{place}/image?max_side=21",
        f"{place}/image?model=heavy",
        f"{other_place}/image",
    ]
    async with connect(bench) as client:
        await fill(client, place, body)
        await fill(client, other_place, other)
        tags = [(await client.head(address)).headers["etag"] for address in addresses]
        assert len(set(tags)) == len(tags)
        same = [f"{place}/image?format=png", f"{place}/image?model=light", f"{place}/image?region=0,0,50,50"]
        assert [(await client.head(address)).headers["etag"] for address in same] == [
            tags[0],
            tags[0],
            tags[2],
        ]
        bench.engine.weights.serve(fake_weights("light", "2"))
        after = [(await client.head(address)).headers["etag"] for address in addresses]
    changed = [address for address, old, new in zip(addresses, tags, after, strict=True) if old != new]
    assert changed == [
        addresses[0],
        addresses[1],
        addresses[2],
        addresses[6],
    ]  # neither thumbnails nor heavy's


async def test_who_has_the_picture_costs_nothing(
    make_store: Any, connect: Any, body: bytes, place: str
) -> None:
    bench = make_store()
    async with connect(bench) as client:
        await fill(client, place, body)
        tag = (await client.get(f"{place}/image")).headers["etag"]
        calls = bench.network.calls
        for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            answer = await client.get(f"{place}/image", headers={"If-None-Match": given})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
            assert answer.headers["cache-control"] == "public, max-age=3600"
            assert answer.headers["vary"] == "Accept"
        bench.engine.stop(2.0)  # not even a working engine is needed
        again = await client.get(f"{place}/image", headers={"If-None-Match": tag})
        assert again.status_code == 304
        assert bench.network.calls == calls
        check_problem(await client.get(f"{place}/image"), 503, "not-ready")
        await client.delete(place)
        gone = await client.get(f"{place}/image", headers={"If-None-Match": tag})
        check_problem(gone, 404, "not-found")


async def test_head_does_not_run_the_network(make_store: Any, connect: Any, body: bytes, place: str) -> None:
    bench = make_store()
    async with connect(bench) as client:
        await fill(client, place, body)
        calls = bench.network.calls
        for query in ("", "?region=0,0,50,60", "?max_side=33", "?region=0,0,50,60&max_side=20&format=jpeg"):
            head = await client.head(f"{place}/image{query}")
            assert bench.network.calls == calls
            got = await client.get(f"{place}/image{query}")
            calls = bench.network.calls
            assert (head.status_code, head.content) == (200, b"")
            assert "content-length" not in head.headers
            for name in ("etag", "content-type", "cache-control", "bbmr-model", "bbmr-width", "bbmr-height"):
                assert head.headers[name] == got.headers[name], (query, name)


async def test_the_cache_answers_again(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    settings = {"picture_cache": tmp_path / "cache"}
    bench = make_store(**settings)
    async with connect(bench) as client:
        await fill(client, place, body)
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


async def test_cached_pictures_are_not_read_where_answers_fill_the_memory(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    bodies = bench.app.state.bbmr.bodies
    async with connect(bench) as client:
        await fill(client, place, body)
        first = await client.get(f"{place}/image")
        with bodies.share() as others:  # who take their answers slowly
            others.hold(bodies.limit - len(first.content) // 2)
            refused = await client.get(f"{place}/image")
            check_problem(refused, 429, "queue-full")
            assert int(refused.headers["retry-after"]) >= 1
        again = await client.get(f"{place}/image")
        await written(bench)
    assert (again.status_code, again.headers["server-timing"]) == (200, "cache")
    assert bodies.used == 0


async def test_one_picture_for_many_at_once_is_made_once(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", queue_length=2)
    async with connect(bench) as client:
        await fill(client, place, body)
        calls = bench.network.calls
        answers = await asyncio.gather(*(client.get(f"{place}/image") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert bench.network.calls == calls + 1


async def test_who_waits_for_the_same_picture_waits_within_the_deadline(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", deadline_s=0.4)
    async with connect(bench) as client:
        await fill(client, place, body)
        bench.network.hold()
        answers = await asyncio.gather(*(client.get(f"{place}/image") for _ in range(3)))
        for answer in answers:
            check_problem(answer, 504, "deadline")
        bench.network.gate.set()
        assert (await client.get(f"{place}/image")).status_code == 200


async def test_who_waited_for_another_has_the_rest_of_the_deadline(
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

    async def noted(work: Work, deadline_s: float) -> Answer:
        deadlines.append(deadline_s)
        return await reconstruct(work, deadline_s)

    monkeypatch.setattr(bench.engine, "reconstruct", noted)
    async with connect(bench) as client:
        await fill(client, place, body)
        assert (await client.get(f"{place}/image")).status_code == 200
    assert 0 < deadlines[0] < 19.9


async def test_who_finds_the_picture_does_not_wait_for_others(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache", deadline_s=5)
    pictures = bench.app.state.store.pictures
    async with connect(bench) as client:
        await fill(client, place, body)
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
        await fill(client, place, body)
        for side in (10, 20, 30):
            await client.get(f"{place}/image?max_side={side}")
        await written(bench)
        assert len(list(cache.rglob("*.picture"))) == 3
        await client.delete(place)
        assert list(cache.rglob("*.picture")) == []
        assert "bbmr_cache_bytes 0.0" in (await client.get("/metrics")).text


async def test_a_container_deleted_meanwhile_leaves_no_picture(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path, wait_for: Any
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    async with connect(bench) as client:
        await fill(client, place, body)
        bench.network.hold()
        getting = asyncio.ensure_future(client.get(f"{place}/image"))
        await asyncio.to_thread(bench.network.entered.wait, 10)
        await client.delete(place)
        bench.network.gate.set()
        assert (await getting).status_code == 200
        await written(bench)
    assert list((tmp_path / "cache").rglob("*.picture")) == []


async def test_the_cache_evicts_what_was_used_longest_ago(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bench = make_store(picture_cache=cache)
    async with connect(bench) as client:
        await fill(client, place, body)
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

        assert await hits(0)  # of the server before
        assert not await hits(1)
        assert await hits(0)
        assert not await hits(2)  # 1 makes room
        assert await hits(0)
        assert await hits(2)
        assert not await hits(1)
    assert sum(path.stat().st_size for path in cache.rglob("*.picture")) <= 2.5 * size


async def test_a_cache_too_small_for_a_picture(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    async with connect(make_store(picture_cache=tmp_path / "cache", picture_cache_bytes=100)) as client:
        await fill(client, place, body)
        for _ in range(2):
            assert (await client.get(f"{place}/image")).status_code == 200
    assert list((tmp_path / "cache").rglob("*.picture")) == []


async def test_weights_swapped_meanwhile(
    make_store: Any, connect: Any, body: bytes, place: str, tmp_path: Path
) -> None:
    bench = make_store(picture_cache=tmp_path / "cache")
    async with connect(bench) as client:
        await fill(client, place, body)
        bench.network.hold()
        getting = asyncio.ensure_future(client.get(f"{place}/image"))
        await asyncio.to_thread(bench.network.entered.wait, 10)
        bench.engine.weights.serve(fake_weights("light", "2"))
        bench.network.gate.set()
        answer = await getting
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert list((tmp_path / "cache").rglob("*.picture")) == []


async def test_a_container_whose_planes_do_not_decode(
    make_store: Any, connect: Any, container: Container
) -> None:
    first, *others = container.planes
    broken = replace(
        container, planes=(replace(first, data=first.data[:40] + b"\xff" * (len(first.data) - 40)), *others)
    )
    body = broken.to_bytes()
    place = f"/containers/{hashlib.sha256(body).hexdigest()}"
    async with connect(make_store()) as client:
        await fill(client, place, body)
        posted = await client.post("/reconstruct", content=body, headers=HEADERS)
        check_problem(posted, 400, "unreadable-container")
        check_problem(await client.get(f"{place}/image"), 400, "unreadable-container")
