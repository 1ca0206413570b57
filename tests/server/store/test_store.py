"""/containers: what is kept, given back and deleted; who may; and what every refusal says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.app import create_app
from bbmr_server.settings import Settings
from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.errors import UsageError
from tests.server.routes.test_reconstruct import check_problem

pytestmark = pytest.mark.anyio

HEADERS = {"Content-Type": MEDIA_TYPE}
KEY = "r7Tq2vX9pLm4Zk8W"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def serve(make_bench: Callable[..., Any], connect: Any, store: Path) -> Callable[..., Any]:
    """`async with serve(**settings) as client`: a client of a server that keeps containers in `store`."""

    @contextlib.asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with connect(make_bench(**{"store": str(store), **settings})) as client:
            yield client

    return make


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_container_is_kept_given_back_and_deleted(
    serve: Any, store: Path, body: bytes, digest: str, method: str
) -> None:
    place = f"/containers/{digest}"
    async with serve() as client:
        kept = await client.request(
            method, place if method == "PUT" else "/containers", content=body, headers=HEADERS
        )
        assert kept.status_code == 201
        assert kept.headers["location"] == place
        assert kept.headers["cache-control"] == "no-store"
        assert kept.json() == {"digest": digest, "bytes": len(body), "width": 200, "height": 150}
        assert [path.read_bytes() for path in files_in(store)] == [body]
        again = await client.request(
            method, place if method == "PUT" else "/containers", content=body, headers=HEADERS
        )
        assert (again.status_code, again.headers["location"]) == (200, place)
        got = await client.get(place)
        assert got.status_code == 200
        assert got.content == body
        assert got.headers["content-type"] == MEDIA_TYPE
        assert got.headers["etag"] == f'"{digest}"'
        assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert got.headers["accept-ranges"] == "bytes"
        assert got.headers["x-content-type-options"] == "nosniff"
        gone = await client.delete(place)
        assert (gone.status_code, gone.content) == (204, b"")
        check_problem(await client.get(place), 404, "not-found")
        check_problem(await client.delete(place), 404, "not-found")
        assert files_in(store) == []


async def test_what_is_kept_outlives_the_server(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
    async with serve() as client:
        assert (await client.get(f"/containers/{digest}")).content == body


async def test_head_tells_the_size(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        check_head = await client.head(f"/containers/{digest}")
        assert check_head.status_code == 404
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        head = await client.head(f"/containers/{digest}")
        got = await client.get(f"/containers/{digest}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(body))
    for name in ("etag", "cache-control", "content-type", "accept-ranges"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("tags", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
async def test_who_has_it_gets_304(serve: Any, body: bytes, digest: str, tags: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        headers = {"If-None-Match": tags.format(digest), "Range": "bytes=0-3"}
        answer = await client.get(f"/containers/{digest}", headers=headers)
        other = await client.get(f"/containers/{digest}", headers={"If-None-Match": '"other"'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{digest}"'
    assert "immutable" in answer.headers["cache-control"]
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-7", 0, 8),
        ("5-", 5, None),
        ("-16", -16, None),
        ("0-" + 99 * "9", 0, None),
        ("-" + 99 * "9", 0, None),
    ],
)
async def test_a_range(serve: Any, body: bytes, digest: str, asked: str, start: int, end: int | None) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        part = await client.get(f"/containers/{digest}", headers={"Range": f"bytes={asked}"})
        same = await client.get(
            f"/containers/{digest}", headers={"Range": f"bytes={asked}", "If-Range": f'"{digest}"'}
        )
        weak = await client.get(
            f"/containers/{digest}", headers={"Range": f"bytes={asked}", "If-Range": f'W/"{digest}"'}
        )
    expected = body[start:end]
    assert part.status_code == same.status_code == 206
    assert part.content == same.content == expected
    first = len(body) - len(expected) if start else 0
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(body)}"
    assert part.headers["content-length"] == str(len(expected))
    assert (weak.status_code, weak.content) == (200, body)


@pytest.mark.parametrize("asked", ["bytes=0-3,8-9", "bytes=9-3", "lines=0-3", "bytes=-", "bytes=a-b"])
async def test_a_range_that_is_not_understood_is_passed_over(
    serve: Any, body: bytes, digest: str, asked: str
) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        answer = await client.get(f"/containers/{digest}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, body)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_outside(serve: Any, body: bytes, digest: str, asked: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        answer = await client.get(f"/containers/{digest}", headers={"Range": asked})
    check_problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(body)}"


async def test_the_same_container_twice_at_once(serve: Any, store: Path, body: bytes, digest: str) -> None:
    async with serve() as client:
        answers = await asyncio.gather(
            *(client.put(f"/containers/{digest}", content=body, headers=HEADERS) for _ in range(8))
        )
        page = (await client.get("/metrics")).text
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert [path.read_bytes() for path in files_in(store)] == [body]
    assert f"bbmr_store_bytes {-(-len(body) // 4096) * 4096:.1f}" in page


async def test_puts_and_deletes_at_once_leave_all_or_nothing(
    serve: Any, store: Path, body: bytes, digest: str
) -> None:
    place = f"/containers/{digest}"
    async with serve() as client:
        calls = [
            client.delete(place) if number % 3 == 2 else client.put(place, content=body, headers=HEADERS)
            for number in range(30)
        ]
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} <= {200, 201, 204, 404}
        last = await client.get(place)
        assert last.status_code == 404 or last.content == body
        assert len(files_in(store)) == (1 if last.status_code == 200 else 0)
        used = (await client.get("/metrics")).text
    assert f"bbmr_store_bytes {-(-len(body) // 4096) * 4096 * len(files_in(store)):.1f}" in used


async def test_only_what_is_a_whole_container_is_kept(serve: Any, store: Path, body: bytes) -> None:
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
async def test_no_other_name_is_taken(serve: Any, tmp_path: Path, body: bytes, name: str) -> None:
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


async def test_without_a_store_there_is_nothing(
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


async def test_bodies_of_the_store_count_in_the_same_memory(
    serve: Any, body: bytes, digest: str, store: Path
) -> None:
    async with serve(max_body_bytes=len(body), body_memory_bytes=len(body)) as client:
        service = client._transport.app.state.bbmr
        with service.bodies.share() as share:
            share.take(100)
            answer = await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
            check_problem(answer, 429, "queue-full")
        assert (await client.put(f"/containers/{digest}", content=body, headers=HEADERS)).status_code == 201
        with service.bodies.share() as share:
            share.take(100)
            check_problem(await client.get(f"/containers/{digest}"), 429, "queue-full")
            part = await client.get(f"/containers/{digest}", headers={"Range": "bytes=0-9"})
            assert part.status_code == 206
        assert service.bodies.used == 0


async def test_operations_and_bytes_are_counted(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        await client.get(f"/containers/{digest}")
        await client.get("/containers/" + "0" * 64)
        page = (await client.get("/metrics")).text
    values = dict(re.findall(r"^(bbmr_(?:store|cache)_\S+) (\S+)$", page, re.M))
    assert float(values['bbmr_store_requests_total{operation="put",outcome="ok"}']) == 1
    assert float(values['bbmr_store_requests_total{operation="get",outcome="ok"}']) == 1
    assert float(values['bbmr_store_requests_total{operation="size",outcome="missing"}']) == 1
    assert float(values["bbmr_store_received_bytes_total"]) == len(body)
    assert float(values["bbmr_store_sent_bytes_total"]) == len(body)
    assert float(values["bbmr_store_max_bytes"]) == 10 * 2**30


async def test_reconstruct_is_never_answered_304(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        for tag in ("*", f'"{digest}"'):
            answer = await client.post(
                "/reconstruct", content=body, headers={**HEADERS, "If-None-Match": tag}
            )
            assert answer.status_code == 200
            assert "etag" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"


async def test_on_the_wire(
    wait_for: Any, make_bench: Callable[..., Any], listen: Any, store: Path, body: bytes, digest: str
) -> None:
    """One connection serves them all: no answer has a body, or a length, that it must not have."""
    bench = make_bench(store=str(store))
    with listen(bench.app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.connect()
        line = connection.sock

        def ask(method: str, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPResponse]:
            data = body if method in ("PUT", "POST") else None
            connection.request(method, path, data, {**HEADERS, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer

        place = f"/containers/{digest}"
        wait_for(lambda: bench.app.state.store.containers.usage.used == 0)  # counted at the start
        assert ask("PUT", place)[0] == 201
        status, content, answer = ask("HEAD", place)
        assert (status, content, answer.headers["content-length"]) == (200, b"", str(len(body)))
        status, content, answer = ask("HEAD", f"{place}/image")
        assert (status, content, answer.headers["content-length"]) == (200, b"", None)
        assert ask("GET", place, **{"If-None-Match": f'"{digest}"'})[:2] == (304, b"")
        assert ask("GET", place, Range="bytes=1-3")[:2] == (206, body[1:4])
        assert ask("GET", place)[:2] == (200, body)
        status, picture, answer = ask("GET", f"{place}/image")
        assert (status, answer.headers["content-length"]) == (200, str(len(picture)))
        assert ask("DELETE", place)[:2] == (204, b"")
        assert ask("GET", place)[0] == 404
        assert connection.sock is line
        connection.close()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/containers", "POST"),
        ("/containers/" + "0" * 64, "DELETE, GET, HEAD, PUT"),
        ("/containers/" + "0" * 64 + "/image", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
async def test_allow_names_every_method_of_an_address(serve: Any, path: str, allowed: str) -> None:
    async with serve() as client:
        answer = await client.request("PATCH", path)
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


def test_a_public_server_without_keys_keeps_nothing(make_bench: Callable[..., Any], store: Path) -> None:
    with pytest.raises(UsageError, match="BBMR_API_KEYS"):
        make_bench(start=False, store=str(store), host="0.0.0.0")
    assert not store.exists()
    make_bench(start=False, store=str(store), host="0.0.0.0", api_keys=KEY)


def test_a_directory_that_cannot_be_used(make_bench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="BBMR_STORE: cannot write to"):
        make_bench(start=False, store=str(tmp_path / "file" / "store"))
    with pytest.raises(UsageError, match="BBMR_PICTURE_CACHE: cannot write to"):
        make_bench(start=False, store=str(tmp_path / "store"), picture_cache=tmp_path / "file" / "cache")
    with pytest.raises(UsageError, match="set BBMR_STORE as well"):
        make_bench(start=False, picture_cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "place",
    [
        "s3://",
        "s3:bucket",
        "s3://KEY:SECRET@bucket",
        "s3://bucket/../x",
        "gs://bucket",
        "file:///tmp",
        "s3://b/x?y=1",
    ],
)
def test_places_that_are_none(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bbmr_server.settings import load_settings

    with pytest.raises(UsageError, match="BBMR_STORE") as refusal:
        load_settings(store=place)
    assert "SECRET" not in str(refusal.value)


def test_the_directory_is_its_owners_alone(make_bench: Callable[..., Any], store: Path) -> None:
    make_bench(start=False, store=str(store))
    assert store.stat().st_mode & 0o777 == 0o700


def test_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bench: Callable[..., Any]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"pip install 'bbmr\[store\]'"):
        create_app(Settings(store=str(tmp_path)), make_bench(start=False).engine)
