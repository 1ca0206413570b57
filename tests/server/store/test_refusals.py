"""/containers: bodies, names and keys that are refused, and a full store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import HEADERS, files_in

pytestmark = pytest.mark.anyio
KEY = "r7Tq2vX9pLm4Zk8W"


async def test_only_whole_containers_are_stored(serve: Any, store: Path, body: bytes) -> None:
    cut = body[:-20]
    changed = body[:100] + bytes([body[100] ^ 1]) + body[101:]
    async with serve(max_body_bytes=len(body) + 10) as client:
        for bad in (b"", b"no container", cut, changed):
            place = f"/containers/{hashlib.sha256(bad).hexdigest()}"
            for answer in (
                await client.put(place, content=bad, headers=HEADERS),
                await client.post("/containers", content=bad, headers=HEADERS),
            ):
                check_problem(answer, 400, "unreadable-container")
            assert (await client.get(place)).status_code == 404
        long = await client.post("/containers", content=body + bytes(11), headers=HEADERS)
        check_problem(long, 413, "too-large")
    async with serve(max_pixels=200 * 150 - 1) as client:
        large = await client.post("/containers", content=body, headers=HEADERS)
        check_problem(large, 413, "too-large")
    assert files_in(store) == []


async def test_the_digest_of_the_address_is_checked(
    serve: Any, store: Path, body: bytes, digest: str
) -> None:
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    async with serve() as client:
        answer = await client.put(f"/containers/{wrong}", content=body, headers=HEADERS)
    document = check_problem(answer, 422, "invalid-request")
    assert document["digest"] == digest
    assert document["errors"][0]["field"] == "digest"
    assert files_in(store) == []


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cx",
        "A" * 64,
        "a" * 63,
        "a" * 65,
        "a" * 64 + "%0a",
        "%00" + "a" * 63,
        "é" * 64,
        "%2e%2e",
    ],
)
async def test_only_digests_are_accepted_as_names(serve: Any, tmp_path: Path, body: bytes, name: str) -> None:
    before = files_in(tmp_path)
    async with serve() as client:
        for method, content in (("GET", None), ("HEAD", None), ("DELETE", None), ("PUT", body)):
            answer = await client.request(method, f"/containers/{name}", content=content, headers=HEADERS)
            assert answer.status_code in (404, 405, 422), (method, answer.status_code)
            assert "pattern" not in answer.text
        image = await client.get(f"/containers/{name}/image")
        assert image.status_code in (404, 422)
    assert files_in(tmp_path) == before


async def test_the_type_of_the_body_is_checked(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        answer = await client.put(
            f"/containers/{digest}", content=body, headers={"Content-Type": "image/png"}
        )
        check_problem(answer, 415, "unsupported-media-type")
        coded = await client.post(
            "/containers", content=body, headers={**HEADERS, "Content-Encoding": "gzip"}
        )
        check_problem(coded, 415, "unsupported-media-type")


async def test_writes_and_reads_need_a_key_where_there_are_keys(serve: Any, body: bytes, digest: str) -> None:
    place, key = f"/containers/{digest}", {"Authorization": f"Bearer {KEY}"}
    async with serve(api_keys=KEY) as client:
        for method, path in (("PUT", place), ("POST", "/containers"), ("DELETE", place), ("GET", place)):
            answer = await client.request(method, path, content=body, headers=HEADERS)
            check_problem(answer, 401, "unauthorized")
        check_problem(await client.get(f"{place}/image"), 401, "unauthorized")
        bad = await client.delete(place, headers={"X-API-Key": KEY[::-1]})
        check_problem(bad, 403, "forbidden")
        assert (await client.put(place, content=body, headers={**HEADERS, **key})).status_code == 201
        got = await client.get(place, headers=key)
        assert got.headers["cache-control"].startswith("private, ")
        picture = await client.get(f"{place}/image", headers=key)
        assert picture.headers["cache-control"].startswith("private, ")


async def test_open_reads(serve: Any, body: bytes, digest: str) -> None:
    place, key = f"/containers/{digest}", {"X-API-Key": KEY}
    async with serve(api_keys=KEY, store_reads="open") as client:
        assert (await client.put(place, content=body, headers=HEADERS)).status_code == 401
        assert (await client.put(place, content=body, headers={**HEADERS, **key})).status_code == 201
        assert (await client.get(place)).headers["cache-control"].startswith("public, ")
        assert (await client.get(f"{place}/image")).headers["cache-control"].startswith("public, ")
        check_problem(await client.delete(place), 401, "unauthorized")


async def test_without_a_store_all_routes_answer_404(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str
) -> None:
    async with connect(make_bench()) as client:
        for method in ("GET", "PUT", "DELETE"):
            answer = await client.request(method, f"/containers/{digest}", content=body, headers=HEADERS)
            document = check_problem(answer, 404, "not-found")
            assert "BBMR_STORE" in document["detail"]
        posted = await client.post("/containers", content=body, headers=HEADERS)
        check_problem(posted, 404, "not-found")
        image = await client.get(f"/containers/{digest}/image")
        check_problem(image, 404, "not-found")
        assert "bbmr_store" not in (await client.get("/metrics")).text


async def test_a_full_store_refuses_and_evicts_nothing(
    serve: Any, store: Path, body: bytes, digest: str
) -> None:
    other = encode(Image.new("RGB", (64, 64), (9, 9, 9)), rate=2.0).to_bytes()
    room = -(-len(body) // 4096) * 4096 + 4095
    async with serve(store_max_bytes=room) as client:
        assert (await client.put(f"/containers/{digest}", content=body, headers=HEADERS)).status_code == 201
        answer = await client.post("/containers", content=other, headers=HEADERS)
        check_problem(answer, 507, "insufficient-storage")
        again = await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        assert again.status_code == 200
        assert (await client.get(f"/containers/{digest}")).content == body
        assert [path.read_bytes() for path in files_in(store)] == [body]
        await client.delete(f"/containers/{digest}")
        assert (await client.post("/containers", content=other, headers=HEADERS)).status_code == 201
    async with serve(store_max_bytes=4096) as client:  # what an earlier server kept counts
        answer = await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        check_problem(answer, 507, "insufficient-storage")


async def test_bodies_of_the_store_count_against_the_body_memory(
    serve: Any, body: bytes, digest: str, store: Path
) -> None:
    async with serve(max_body_bytes=len(body), body_memory_bytes=len(body)) as client:
        state = client._transport.app.state.bbmr
        with state.bodies.share() as share:
            share.take(100)
            answer = await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
            check_problem(answer, 429, "queue-full")
        assert (await client.put(f"/containers/{digest}", content=body, headers=HEADERS)).status_code == 201
        with state.bodies.share() as share:
            share.take(100)
            check_problem(await client.get(f"/containers/{digest}"), 429, "queue-full")
            part = await client.get(f"/containers/{digest}", headers={"Range": "bytes=0-9"})
            assert part.status_code == 206
        assert state.bodies.used == 0
