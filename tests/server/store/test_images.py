"""/containers/{digest}/image: pictures, their entity tags, HEAD."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageChops

from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from tests.server.fakes import fake_model
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import HEADERS, fill

pytestmark = pytest.mark.anyio


async def test_a_picture_at_an_address(
    make_store: Any, connect: Any, container: Container, body: bytes, place: str
) -> None:
    async with connect(make_store()) as client:
        await fill(client, body)
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


def test_openapi_describes_both_picture_routes_alike(make_store: Any) -> None:
    paths = make_store(start=False).app.openapi()["paths"]
    stored = paths["/containers/{digest}/image"]["get"]["responses"]["200"]
    posted = paths["/reconstruct"]["post"]["responses"]["200"]
    assert stored["content"] == posted["content"]
    for name, said in posted["headers"].items():
        assert stored["headers"][name]["schema"] == said["schema"], name


async def test_format_wins_over_accept(make_store: Any, connect: Any, body: bytes, place: str) -> None:
    async with connect(make_store()) as client:
        await fill(client, body)
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
        await fill(client, body)
        part = await client.get(f"{place}/image?region=120,40,50,60")
        assert Image.open(io.BytesIO(part.content)).size == (50, 60)
        small = await client.get(f"{place}/image?max_side=20")
        assert Image.open(io.BytesIO(small.content)).size == (20, 15)
        assert small.headers["bbmr-model"] == "none"
        outside = await client.get(f"{place}/image?region=190,0,50,50")
        document = check_problem(outside, 422, "invalid-request")
        assert document["errors"][0]["field"] == "region"
        check_problem(await client.get(f"{place}/image?model=nobody"), 422, "unknown-model")


async def test_an_unknown_container_has_no_picture(make_store: Any, connect: Any) -> None:
    async with connect(make_store()) as client:
        check_problem(await client.get(f"/containers/{'0' * 64}/image"), 404, "not-found")
        head = await client.head(f"/containers/{'0' * 64}/image")
        assert head.status_code == 404


async def test_the_etag_covers_everything_the_picture_depends_on(
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
        await fill(client, body)
        await fill(client, other)
        tags = [(await client.head(address)).headers["etag"] for address in addresses]
        assert len(set(tags)) == len(tags)
        same = [f"{place}/image?format=png", f"{place}/image?model=light", f"{place}/image?region=0,0,50,50"]
        assert [(await client.head(address)).headers["etag"] for address in same] == [
            tags[0],
            tags[0],
            tags[2],
        ]
        bench.engine.model_store.serve(fake_model("light", "2"))
        after = [(await client.head(address)).headers["etag"] for address in addresses]
    changed = [address for address, old, new in zip(addresses, tags, after, strict=True) if old != new]
    assert changed == [
        addresses[0],
        addresses[1],
        addresses[2],
        addresses[6],
    ]  # neither thumbnails nor heavy's


async def test_a_304_needs_neither_network_nor_engine(
    make_store: Any, connect: Any, body: bytes, place: str
) -> None:
    bench = make_store()
    async with connect(bench) as client:
        await fill(client, body)
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
        await fill(client, body)
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


async def test_a_container_with_undecodable_planes(
    make_store: Any, connect: Any, container: Container
) -> None:
    first, *others = container.planes
    broken = replace(
        container, planes=(replace(first, data=first.data[:40] + b"\xff" * (len(first.data) - 40)), *others)
    )
    body = broken.to_bytes()
    place = f"/containers/{hashlib.sha256(body).hexdigest()}"
    async with connect(make_store()) as client:
        await fill(client, body)
        posted = await client.post("/reconstruct", content=body, headers=HEADERS)
        check_problem(posted, 400, "unreadable-container")
        check_problem(await client.get(f"{place}/image"), 400, "unreadable-container")
