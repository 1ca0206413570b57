"""POST /reconstruct: every answer that the interface promises; every refusal is a problem document."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import httpx
import numpy as np
import pytest
from PIL import Image, ImageChops

from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import MEDIA_TYPE, AlphaPlane, Container, Plane
from bbmr_shared.container.frame import SIGNATURE, digest
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from tests.server.fakes import FakeNetwork, fake_engine

pytestmark = pytest.mark.anyio

HEADERS = {"Content-Type": MEDIA_TYPE}
KEY = "a-long-enough-key"


def check_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Returns the document, after checking what all problems have in common."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:bbmr:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["instance"] == f"urn:bbmr:request:{document['request_id']}"
    assert "Traceback" not in response.text
    return document


async def test_a_container_becomes_a_picture(
    make_bench: Callable[..., Any], connect: Any, container: Container, body: bytes
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.headers["vary"] == "Accept"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["bbmr-model"] == "light"
    assert (response.headers["bbmr-width"], response.headers["bbmr-height"]) == ("200", "150")
    assert response.headers["content-disposition"] == 'inline; filename="reconstruction.png"'
    stages = [part.split(";dur=") for part in response.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["decode", "queue", "network", "encode"]
    assert all(float(milliseconds) >= 0 for _, milliseconds in stages)
    picture = Image.open(io.BytesIO(response.content))
    assert ImageChops.difference(picture, preview(container)).getbbox() is None


@pytest.mark.parametrize(
    ("accept", "mime", "form"),
    [
        ("image/webp", "image/webp", "WEBP"),
        ("image/avif", "image/avif", "AVIF"),
        ("image/jpeg", "image/jpeg", "JPEG"),
        ("image/webp;q=0.2, image/jpeg;q=0.7", "image/jpeg", "JPEG"),
        ("*/*", "image/png", "PNG"),
    ],
)
async def test_accept_chooses_the_format(
    make_bench: Callable[..., Any], connect: Any, body: bytes, accept: str, mime: str, form: str
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS | {"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == mime
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.format, picture.size) == (form, (200, 150))


async def test_several_accept_headers_count_as_one(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    headers = [("Content-Type", MEDIA_TYPE), ("Accept", "text/html"), ("Accept", "image/webp")]
    async with connect(make_bench()) as client:
        client.headers.pop("accept")
        response = await client.post("/reconstruct", content=body, headers=headers)
    assert response.headers["content-type"] == "image/webp"


async def test_region_and_max_side(
    make_bench: Callable[..., Any], connect: Any, container: Container, body: bytes
) -> None:
    async with connect(make_bench()) as client:
        part = await client.post("/reconstruct?region=120,40,50,60", content=body, headers=HEADERS)
        small = await client.post("/reconstruct", params={"max_side": 20}, content=body, headers=HEADERS)
        both = await client.post("/reconstruct?region=0,0,100,50&max_side=20", content=body, headers=HEADERS)
    cut = preview(container).crop((120, 40, 170, 100))
    assert ImageChops.difference(Image.open(io.BytesIO(part.content)), cut).getbbox() is None
    assert (part.headers["bbmr-width"], part.headers["bbmr-height"]) == ("50", "60")
    assert Image.open(io.BytesIO(small.content)).size == (20, 15)
    assert small.headers["bbmr-model"] == "none"
    assert "network" not in small.headers["server-timing"]
    assert Image.open(io.BytesIO(both.content)).size == (20, 10)


@pytest.mark.parametrize("mode", ["RGB", "L"])
async def test_an_original_is_answered_without_a_network(
    make_bench: Callable[..., Any], connect: Any, photo: Image.Image, mode: str
) -> None:
    source = io.BytesIO()
    photo.convert(mode).save(source, "JPEG", quality=70)
    made = Container(
        *photo.size,
        np.ones(BlockGrid(*photo.size).shape, np.uint8),
        (Plane(1, "jpeg", source.getvalue()),),
        original=True,
        strength=0,
        channels=1 if mode == "L" else 3,
        dpi=(300.0, 300.0),
        model="weights-that-nobody-has",
    )
    bench = make_bench()
    calls = bench.network.calls
    async with connect(bench) as client:
        response = await client.post("/reconstruct", content=made.to_bytes(), headers=HEADERS)
        part = await client.post("/reconstruct?region=9,8,50,60", content=made.to_bytes(), headers=HEADERS)
        asked = await client.post("/reconstruct?model=light", content=made.to_bytes(), headers=HEADERS)
    assert (response.status_code, response.headers["bbmr-model"]) == (200, "none")
    picture, expected = Image.open(io.BytesIO(response.content)), Image.open(source)
    assert picture.mode == expected.mode == mode
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert ImageChops.difference(picture, expected).getbbox() is None
    cut = Image.open(io.BytesIO(part.content))
    assert ImageChops.difference(cut, expected.crop((9, 8, 59, 68))).getbbox() is None
    assert asked.headers["bbmr-model"] == "light"
    assert bench.network.calls == calls  # the network would leave every pixel as it is


async def test_an_original_is_returned_unchanged_in_its_own_format(
    make_bench: Callable[..., Any], connect: Any, photo: Image.Image
) -> None:
    source = io.BytesIO()
    photo.save(source, "WEBP", quality=40, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    rates = np.ones(BlockGrid(*photo.size).shape, np.uint8)
    planes = (Plane(1, "webp", source.getvalue()),)
    body = Container(*photo.size, rates, planes, original=True, strength=0).to_bytes()
    headers = HEADERS | {"Accept": "image/webp"}
    async with connect(make_bench()) as client:
        whole = await client.post("/reconstruct", content=body, headers=headers)
        part = await client.post("/reconstruct?region=0,0,50,50", content=body, headers=headers)
        small = await client.post("/reconstruct?max_side=20", content=body, headers=headers)
        other = await client.post("/reconstruct", content=body, headers=HEADERS | {"Accept": "image/avif"})
    assert whole.content == source.getvalue()
    assert (whole.headers["content-type"], whole.headers["bbmr-width"]) == ("image/webp", "200")
    assert Image.open(io.BytesIO(part.content)).size == (50, 50)
    assert Image.open(io.BytesIO(small.content)).size == (20, 15)
    assert Image.open(io.BytesIO(other.content)).format == "AVIF"


async def test_grey_with_alpha_is_answered_as_such(
    make_bench: Callable[..., Any], connect: Any, container: Container, photo: Image.Image
) -> None:
    alpha = AlphaPlane(*encode_plane(np.asarray(photo.convert("L")), "avif", quality=60))
    made = replace(container, channels=1, alpha=alpha)
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=made.to_bytes(), headers=HEADERS)
    picture = Image.open(io.BytesIO(response.content))
    assert picture.mode == "LA"
    assert ImageChops.difference(picture, preview(made)).getbbox() is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("region=0,0,201,10", "region"),
        ("region=0,0,0,10", "region"),
        ("region=1,2,3", "region"),
        ("region=a,b,c,d", "region"),
        ("region=-1,0,5,5", "region"),
        ("region=1.5,0,5,5", "region"),
        ("region=٣,0,5,5", "region"),
        ("max_side=0", "max_side"),
        ("max_side=big", "max_side"),
        ("model=", "model"),
        ("maxside=64", "maxside"),
        ("Region=0,0,5,5", "Region"),
        ("region=0,0,9,9&region=1,1,5,5", "region"),
        ("format=jpg", "format"),
    ],
)
async def test_a_bad_query_names_its_field(
    make_bench: Callable[..., Any], connect: Any, body: bytes, query: str, field: str
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post(f"/reconstruct?{query}", content=body, headers=HEADERS)
    document = check_problem(response, 422, "invalid-request")
    assert [error["field"] for error in document["errors"]] == [field]
    assert "Value error" not in response.text
    assert "Input should" not in response.text


async def test_an_unknown_parameter_is_refused_with_the_known_ones(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post(
            "/reconstruct?max_side=8&rate=4&rate=2&foo=", content=body, headers=HEADERS
        )
        document = check_problem(response, 422, "invalid-request")
        assert [error["field"] for error in document["errors"]] == ["rate", "foo"]
        assert "format, max_side, model, region" in document["detail"]
        # The key is checked first, as for every other fault of the query.
    async with connect(make_bench(api_keys="0123456789abcdeF")) as client:
        check_problem(
            await client.post("/reconstruct?foo=1", content=body, headers=HEADERS), 401, "unauthorized"
        )


async def test_an_empty_body_is_called_empty(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=b"", headers=HEADERS)
    assert "0 bytes" in check_problem(response, 400, "unreadable-container")["detail"]


async def test_format_wins_over_accept(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench()) as client:
        for accept in ("image/png", "text/html"):
            response = await client.post(
                "/reconstruct?format=jpeg", content=body, headers=HEADERS | {"Accept": accept}
            )
            assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
            assert response.content.startswith(b"\xff\xd8\xff")


async def test_unknown_weights(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct?model=nosuch", content=body, headers=HEADERS)
        assert "model=light" in check_problem(response, 422, "unknown-model")["detail"]
    async with connect(make_bench(model="other")) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
        assert "container was made" in check_problem(response, 422, "unknown-model")["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "multipart/form-data; boundary=x", ""])
async def test_wrong_content_type(
    make_bench: Callable[..., Any], connect: Any, body: bytes, kind: str
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=body, headers={"Content-Type": kind})
    check_problem(response, 415, "unsupported-media-type")
    assert MEDIA_TYPE in response.headers["accept-post"]


async def test_a_compressed_body_is_refused(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    async with connect(make_bench()) as client:
        response = await client.post(
            "/reconstruct", content=body, headers=HEADERS | {"Content-Encoding": "gzip"}
        )
    check_problem(response, 415, "unsupported-media-type")


async def test_octet_stream_and_parameters_of_the_type_are_accepted(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    async with connect(make_bench()) as client:
        for kind in ("application/octet-stream", "Application/VND.bbmr; version=1"):
            response = await client.post("/reconstruct", content=body, headers={"Content-Type": kind})
            assert response.status_code == 200


async def test_no_acceptable_type(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS | {"Accept": "text/html"})
    assert check_problem(response, 406, "not-acceptable")["offered"][0] == "image/png"


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: b"\x89PNG\r\n\x1a\n" + bytes(100),
        lambda body: body[:5],
        lambda body: body[:100],
        lambda body: body[:-1],
        lambda body: body + b"x",
        lambda body: body[:-40] + bytes([body[-40] ^ 1]) + body[-39:],
        lambda body: SIGNATURE + b"\xdf\xff\xff\xff\xff" + bytes(20),  # a map of four billion fields
        lambda body: SIGNATURE + b"\xc6\xff\xff\xff\xff" + bytes(20),  # four gigabytes of bytes
        lambda body: SIGNATURE + b"\x91" * 100_000 + bytes(20),  # arrays in arrays
    ],
    ids=["empty", "png", "signature", "header", "last", "trailing", "flipped", "map", "bin", "deep"],
)
async def test_an_unreadable_container_is_refused(
    make_bench: Callable[..., Any], connect: Any, body: bytes, damage: Callable[[bytes], bytes]
) -> None:
    bench = make_bench()
    async with connect(bench) as client:
        response = await client.post("/reconstruct", content=damage(body), headers=HEADERS, timeout=5)
        check_problem(response, 400, "unreadable-container")
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 200
    assert len(bench.engine.admission) == 0


async def test_a_container_of_a_later_version(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    assert body.count(b"\xa7version\x01") == 1
    later = body.replace(b"\xa7version\x01", b"\xa7version\x63")
    sealed = later[:-16] + digest(later[:-16])
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=sealed, headers=HEADERS)
        damaged = await client.post("/reconstruct", content=later, headers=HEADERS)
    assert "version 99" in check_problem(response, 422, "unsupported-container")["detail"]
    assert "digest differs" in check_problem(damaged, 400, "unreadable-container")["detail"]


async def test_too_many_pixels_are_refused_before_decoding(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    bench = make_bench(max_pixels=200 * 150 - 1)
    calls = bench.network.calls
    async with connect(bench) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
    assert "200×150" in check_problem(response, 413, "too-large")["detail"]
    assert bench.network.calls == calls


async def test_too_many_bytes_declared(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench(max_body_bytes=1000)) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
    assert "declared" in check_problem(response, 413, "too-large")["detail"]


async def test_too_many_bytes_streamed(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100_000:
            sent += 500
            yield bytes(500)

    bench = make_bench(max_body_bytes=1000)
    async with connect(bench) as client:
        response = await client.post("/reconstruct", content=endless(), headers=HEADERS)
    assert "longer than" in check_problem(response, 413, "too-large")["detail"]
    assert bench.app.state.bbmr.bodies.used == 0


async def test_all_bodies_together_are_bounded(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    size = len(body)
    bench = make_bench(max_body_bytes=size, body_memory_bytes=size + 10)
    bench.network.hold()
    async with connect(bench) as client:
        first = asyncio.create_task(client.post("/reconstruct", content=body, headers=HEADERS))
        assert await asyncio.to_thread(bench.network.entered.wait, 5)
        second = await client.post("/reconstruct", content=body, headers=HEADERS)
        check_problem(second, 429, "queue-full")
        bench.network.gate.set()
        assert (await first).status_code == 200
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 200
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_full_queue(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    bench = make_bench(queue_length=1)
    bench.network.hold()
    async with connect(bench) as client:
        first = asyncio.create_task(client.post("/reconstruct", content=body, headers=HEADERS))
        assert await asyncio.to_thread(bench.network.entered.wait, 5)
        second = await client.post("/reconstruct", content=body, headers=HEADERS)
        check_problem(second, 429, "queue-full")
        assert int(second.headers["retry-after"]) >= 1
        assert (await client.get("/readyz")).status_code == 200  # a full queue is not a fault
        bench.network.gate.set()
        assert (await first).status_code == 200


async def test_the_deadline(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    bench = make_bench(deadline_s=0.2)
    bench.network.hold()
    async with connect(bench) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
    check_problem(response, 504, "deadline")


async def test_not_ready(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench(start=False)) as client:
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
    check_problem(response, 503, "not-ready")
    assert int(response.headers["retry-after"]) >= 1


async def test_the_answer_to_an_unexpected_error_reveals_nothing(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = make_bench()
    error = ZeroDivisionError("the secret inside")
    async with connect(bench) as client:
        bench.network.error = error
        response = await client.post("/reconstruct", content=body, headers=HEADERS)
        check_problem(response, 500, "model")
        assert "secret" not in response.text
        bench.network.error = None
        with monkeypatch.context() as patched:
            patched.setattr("bbmr_server.engine.stages.encode_picture", Mock(side_effect=error))
            response = await client.post("/reconstruct", content=body, headers=HEADERS)
        document = check_problem(response, 500, "internal")
        assert "secret" not in response.text
        assert any(document["request_id"] in record.getMessage() for record in caplog.records)
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 200


async def test_keys(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench(api_keys=f"another-key-of-mine,{KEY}")) as client:

        async def post(**headers: str) -> httpx.Response:
            return await client.post("/reconstruct", content=body, headers={**HEADERS, **headers})

        missing = await post()
        check_problem(missing, 401, "unauthorized")
        assert missing.headers["www-authenticate"].startswith("Bearer")
        check_problem(await post(Authorization="Basic abc"), 401, "unauthorized")
        wrong = await post(Authorization=f"Bearer {KEY}x")
        check_problem(wrong, 403, "forbidden")
        assert KEY not in wrong.text
        assert (await post(Authorization=f"Bearer {KEY}")).status_code == 200
        assert (await post(Authorization=f"bearer {KEY}")).status_code == 200
        assert (await post(**{"X-API-Key": "another-key-of-mine"})).status_code == 200
        check_problem(await client.get("/models"), 401, "unauthorized")
        assert (await client.get("/healthz")).status_code == 200


async def test_two_devices_give_the_same_picture(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    from bbmr_server.engine.request import PictureRequest

    network = FakeNetwork()
    engine = fake_engine(network, devices=("cuda:0", "cuda:1"))
    engine.start()
    await asyncio.to_thread(wait_for, lambda: engine.ready)
    assert sorted(network.launches) == ["cuda:0", "cuda:1"]
    answers = await asyncio.gather(*(engine.reconstruct(PictureRequest(container)) for _ in range(6)))
    assert len({answer.data for answer in answers}) == 1
    await asyncio.to_thread(engine.stop, 5)


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("image/jpeg", 406, "application/problem+json"),
        ("image/avif", 406, "application/problem+json"),
        ("image/jpeg, image/png;q=0.1", 200, "image/png"),
        ("image/*", 200, "image/png"),
    ],
)
async def test_a_type_that_cannot_hold_the_size_is_left_out(
    make_bench: Callable[..., Any], connect: Any, accept: str, status: int, kind: str
) -> None:
    wide = encode(Image.new("RGB", (65_535, 16)), rate=16.0, uniform=True).to_bytes()
    async with connect(make_bench()) as client:
        response = await client.post("/reconstruct", content=wide, headers=HEADERS | {"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (status, kind)
    if status == 406:
        assert check_problem(response, 406, "not-acceptable")["offered"] == ["image/png"]
    else:
        assert response.headers["bbmr-width"] == "65535"
