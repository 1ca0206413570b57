"""/containers: storing, returning, ranges, entity tags, deleting, metrics."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bbmr_shared.container import MEDIA_TYPE
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import HEADERS, files_in

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_container_is_stored_returned_and_deleted(
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


async def test_stored_containers_outlive_the_server(serve: Any, body: bytes, digest: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
    async with serve() as client:
        assert (await client.get(f"/containers/{digest}")).content == body


async def test_head_returns_the_size(serve: Any, body: bytes, digest: str) -> None:
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
async def test_a_matching_etag_gets_304(serve: Any, body: bytes, digest: str, tags: str) -> None:
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
async def test_an_unsupported_range_is_ignored(serve: Any, body: bytes, digest: str, asked: str) -> None:
    async with serve() as client:
        await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        answer = await client.get(f"/containers/{digest}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, body)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_outside_the_container(serve: Any, body: bytes, digest: str, asked: str) -> None:
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
    """All requests use one connection, so a response with a wrong body or length would break the next one."""
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
