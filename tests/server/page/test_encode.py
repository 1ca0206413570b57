"""`POST /encode`, and what it shares with the other routes that take photos: keys, limits, the queue."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import load_photo
from bbmr_server.encode_queue import check_cancelled
from bbmr_server.page import comparison, measure
from bbmr_server.routes import encode as encoding
from bbmr_shared.container import MEDIA_TYPE, Container

pytestmark = pytest.mark.anyio
JPEG = {"Content-Type": "image/jpeg"}
BYTES = {"Content-Type": "application/octet-stream"}
KEY = "a-key-of-some-length"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("?quality=30", {"quality": 30}),
        ("?bpp=1.5", {"bpp": 1.5}),
        ("?max_bytes=3000", {"max_bytes": 3000}),
        ("?target_psnr=30", {"target_psnr": 30}),
        ("?rate=2.5", {"rate": 2.5}),
        ("?rate=16&metadata=none", {"rate": 16, "metadata": "none"}),
        ("?model=light&metadata=icc", {"metadata": "icc"}),
    ],
)
async def test_encode_equals_the_client(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, query: str, options: dict[str, Any]
) -> None:
    async with connect(make_bench()) as client:
        answer = await client.post(f"/encode{query}", content=jpeg, headers=JPEG)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (answer.headers["bbmr-width"], answer.headers["bbmr-height"]) == ("200", "150")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == encode(load_photo(jpeg), **options).to_bytes()


async def test_the_container_names_the_requested_weights(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(model="other,light")) as client:
        for query, model in (("", "other"), ("?model=light", "light")):
            answer = await client.post(f"/encode{query}", content=jpeg, headers=JPEG)
            assert Container.from_bytes(answer.content).model == answer.headers["bbmr-model"] == model


@pytest.mark.parametrize(
    ("query", "headers", "body", "status", "slug", "words"),
    [
        ("", {"Content-Type": "text/html"}, None, 415, "unsupported-media-type", "text/html"),
        ("", JPEG | {"Content-Encoding": "gzip"}, None, 415, "unsupported-media-type", "compressed"),
        ("?rate=0.5", JPEG, None, 422, "invalid-request", "rate"),
        ("?rate=17", JPEG, None, 422, "invalid-request", "rate"),
        ("?rate=nan", JPEG, None, 422, "invalid-request", "rate"),
        ("?quality=101", JPEG, None, 422, "invalid-request", "quality"),
        ("?quality=6.5", JPEG, None, 422, "invalid-request", "quality"),
        ("?bpp=0", JPEG, None, 422, "invalid-request", "bpp"),
        ("?bpp=inf", JPEG, None, 422, "invalid-request", "bpp"),
        ("?max_bytes=0", JPEG, None, 422, "invalid-request", "max_bytes"),
        ("?target_psnr=61", JPEG, None, 422, "invalid-request", "target_psnr"),
        ("?quality=60&rate=4", JPEG, None, 422, "usage", "quality and rate exclude each other"),
        ("?max_bytes=40", JPEG, None, 422, "usage", "the smallest file of this photo has"),
        ("?metadata=some", JPEG, None, 422, "invalid-request", "metadata"),
        ("?model=none", JPEG, None, 422, "unknown-model", "none"),
        ("", JPEG, b"", 400, "unreadable-picture", "empty"),
        ("", JPEG, b"junk" * 9, 400, "unreadable-picture", "not a picture"),
        ("", JPEG, b"%PDF-1.7", 400, "unreadable-picture", "PDF"),
        ("", BYTES, b"\x8bBBM\r\n\x1a\n", 400, "unreadable-picture", "container already"),
    ],
)
async def test_encode_refuses_with_problem_documents(
    make_bench: Callable[..., Any],
    connect: Any,
    jpeg: bytes,
    query: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
    slug: str,
    words: str,
) -> None:
    bench = make_bench()
    async with connect(bench) as client:
        answer = await client.post(f"/encode{query}", content=jpeg if body is None else body, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:bbmr:problem:{slug}")
    assert words in problem["detail"]
    assert len(bench.app.state.bbmr.encode_queue) == 0
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_damaged_photo_is_refused(make_bench: Callable[..., Any], connect: Any, jpeg: bytes) -> None:
    async with connect(make_bench()) as client:
        for path in ("/encode", "/page/photo"):
            answer = await client.post(path, content=jpeg[: len(jpeg) // 2], headers=JPEG)
            assert answer.status_code == 400
            problem = answer.json()
            assert problem["type"] == "urn:bbmr:problem:unreadable-picture"
            assert (
                problem["detail"] == "the photo is damaged or cut short"
            )  # without the words of the decoder


async def test_photos_are_limited_in_bytes_and_pixels(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(encode_pixels=200 * 150 - 1)) as client:
        for path in ("/encode", "/page/photo"):
            answer = await client.post(path, content=jpeg, headers=JPEG)
            assert answer.status_code == 413
            assert "29999" in answer.json()["detail"]
    async with connect(make_bench(max_body_bytes=len(jpeg) - 1)) as client:
        assert (await client.post("/encode", content=jpeg, headers=JPEG)).status_code == 413


async def test_every_route_that_does_work_needs_the_key(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(api_keys=KEY)) as client:
        for path in ("/encode", "/page/facts", "/page/photo", "/page/compare"):
            assert (await client.post(path, content=jpeg, headers=JPEG)).status_code == 401
            wrong = JPEG | {"X-API-Key": "not-a-key-of-theirs"}
            assert (await client.post(path, content=jpeg, headers=wrong)).status_code == 403
        for path in (
            "/",
            "/page/main.js",
            "/page/limits",
        ):  # the page itself must load without a key, to ask for one
            assert (await client.get(path)).status_code == 200
        right = JPEG | {"Authorization": f"Bearer {KEY}"}
        assert (await client.post("/encode", content=jpeg, headers=right)).status_code == 200


async def test_slots_and_time_are_limited(
    make_bench: Callable[..., Any],
    connect: Any,
    jpeg: bytes,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    bench = make_bench(encode_queue_length=2, deadline_s=0.3)
    queue = bench.app.state.bbmr.encode_queue
    gate, seen = threading.Event(), []

    def slow(data: bytes, settings: Any) -> Any:
        seen.append(data)
        gate.wait(20)
        return load_photo(data)

    monkeypatch.setattr(encoding, "read_photo", slow)
    try:
        async with connect(bench) as client:
            posts = [client.post("/encode", content=jpeg, headers=JPEG) for _ in range(2)]
            answers = asyncio.gather(*posts)
            while len(queue) < 2:
                await asyncio.sleep(0.005)
            refused = await client.post("/encode", content=jpeg, headers=JPEG)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            for late in await answers:
                assert (late.status_code, late.json()["type"]) == (504, "urn:bbmr:problem:deadline")
            # Running work holds its slot until it ends; waiting work is removed at once and never starts.
            await asyncio.to_thread(wait_for, lambda: len(queue) == 1)
    finally:
        gate.set()
    await asyncio.to_thread(wait_for, lambda: len(queue) == 0)
    assert len(seen) == 1
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_slow_upload_holds_no_slot(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, body: bytes
) -> None:
    begun, go_on_sending = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield jpeg[:100]
        begun.set()
        await go_on_sending.wait()
        yield jpeg[100:]

    async with connect(make_bench(encode_queue_length=1)) as client:
        slow = asyncio.ensure_future(client.post("/encode", content=slowly(), headers=JPEG))
        await begun.wait()
        assert (await client.post("/encode", content=jpeg, headers=JPEG)).status_code == 200
        assert (await client.post("/page/facts", content=body, headers=BYTES)).status_code == 200
        go_on_sending.set()
        assert (await slow).status_code == 200


@pytest.mark.parametrize("path", ["/encode", "/page/photo", "/page/compare"])
async def test_a_disconnect_stops_the_work(
    make_bench: Callable[..., Any],
    listen: Callable[..., Any],
    jpeg: bytes,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    path: str,
) -> None:
    bench = make_bench()
    state = bench.app.state.bbmr
    entered, gate, checked = threading.Event(), threading.Event(), []

    def slow(data: bytes, settings: Any) -> Any:
        entered.set()
        gate.wait(20)
        return load_photo(data)

    def noted(cancelled: Callable[[], bool]) -> None:
        checked.append(cancelled())
        check_cancelled(cancelled)

    for module in (encoding, measure, comparison):
        monkeypatch.setattr(module, "read_photo", slow)
        monkeypatch.setattr(module, "check_cancelled", noted)
    with listen(bench.app) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
            connection.sendall(f"{head}Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg)
            assert await asyncio.to_thread(entered.wait, 20)
        await asyncio.to_thread(wait_for, lambda: state.bodies.used == 0)
        assert len(state.encode_queue) == 1  # its thread is still working
        gate.set()
        await asyncio.to_thread(wait_for, lambda: len(state.encode_queue) == 0)
    assert checked == [True]  # the work stopped at its first check
