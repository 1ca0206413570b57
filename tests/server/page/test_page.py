"""The page's routes and `POST /encode`: files and their headers, admission, limits, and the figures themselves."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import load_photo
from bbmr_server.encode_queue import WorkCancelledError, check_cancelled
from bbmr_server.http.conditional import not_modified
from bbmr_server.page import avif, measure
from bbmr_server.page.avif import LOW_QUALITY, avif_within, resized
from bbmr_server.page.figures import rescaled
from bbmr_server.page.files import read_files
from bbmr_server.routes import encode as encoding
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_rgb, psnr_y

pytestmark = pytest.mark.anyio
JPEG = {"Content-Type": "image/jpeg"}
BYTES = {"Content-Type": "application/octet-stream"}
KEY = "a-key-of-some-length"
FILES = sorted(name for name in read_files() if name != "index.html")


@pytest.fixture(scope="session")
def jpeg(photo: Image.Image) -> bytes:
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=95)
    return out.getvalue()


# The files


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag in ("script", "style")
        for name, value in attrs:
            if name in ("src", "href", "data-sample") and value:
                self.targets.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(name)

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False


async def test_the_page_and_all_it_names_come_from_here(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False)) as client:
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = Links()
        links.feed(page.text)
        assert links.inline == []  # the policy would not run it
        assert len(links.targets) > 5
        for target in links.targets:
            assert not re.match(r"[a-z]+:|/", target), target  # relative, so that a proxy may put it anywhere
            assert (await client.get(f"/{target}")).status_code == 200
        for name in FILES:
            if name.endswith((".js", ".css")):
                text = (await client.get(f"/page/{name}")).text
                assert not re.search(r"https?://|//cdn|innerHTML|eval\(|@import", text), name
                for module in re.findall(r'from "\./([^"]+)"', text):
                    assert module in FILES


async def test_the_policy_lets_nothing_else_in(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False)) as client:
        for path in ("/", *(f"/page/{name}" for name in FILES)):
            headers = (await client.get(path)).headers
            policy = dict(
                part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["img-src"] == "'self' blob:"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
async def test_files_are_asked_for_by_their_etag(
    make_bench: Callable[..., Any], connect: Any, path: str
) -> None:
    async with connect(make_bench(start=False)) as client:
        first = await client.get(path)
        assert first.headers["cache-control"] == "no-cache"
        etag = first.headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
        head = await client.head(path)
        assert (head.status_code, head.headers["etag"]) == (200, etag)


def test_the_etag_of_a_list_or_a_star_is_known() -> None:
    assert not_modified('"a", W/"b"', '"b"')
    assert not_modified("*", '"b"')
    assert not not_modified(None, '"b"')
    assert not not_modified('"bb"', '"b"')


def test_the_page_is_small() -> None:
    files = read_files()
    assert sum(len(file.data) for name, file in files.items() if not name.endswith(".jpg")) < 75_000
    assert all(len(file.data) <= 400_000 for file in files.values())


async def test_without_the_page_there_is_the_plain_one(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(page=False)) as client:
        plain = await client.get("/")
        assert "script" not in plain.text
        assert "bbmr-client encode" in plain.text
        assert (await client.head("/")).status_code == 200
        for path in ("/page/main.js", "/page/limits"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post("/page/facts", content=b"x", headers=BYTES)).status_code == 404
        assert (await client.post("/encode", content=jpeg, headers=JPEG)).status_code == 200


async def test_limits_are_those_of_the_settings(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench(start=False, max_body_bytes=5000, max_pixels=90_000, encode_pixels=80_000)
    async with connect(bench) as client:
        limits = (await client.get("/page/limits")).json()
    assert (limits["max_body_bytes"], limits["max_photo_pixels"]) == (5000, 80_000)
    assert [entry["rate"] for entry in limits["rates"]] == [1, 2, 4, 8, 16]
    assert all(re.fullmatch(r"#[0-9a-f]{6}", entry["colour"]) for entry in limits["rates"])


# POST /encode


@pytest.mark.parametrize("query", ["", "?rate=2.5", "?rate=16&metadata=none", "?model=light&metadata=icc"])
async def test_encode_is_what_the_client_does(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, query: str
) -> None:
    async with connect(make_bench()) as client:
        answer = await client.post(f"/encode{query}", content=jpeg, headers=JPEG)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (answer.headers["bbmr-width"], answer.headers["bbmr-height"]) == ("200", "150")
    assert answer.headers["cache-control"] == "no-store"
    asked = dict(part.split("=") for part in query[1:].split("&") if part)
    expected = encode(
        load_photo(jpeg), rate=float(asked.get("rate", 4)), metadata=asked.get("metadata", "all")
    )
    assert answer.content == expected.to_bytes()


async def test_the_container_asks_for_the_weights_that_were_named(
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
        ("?metadata=some", JPEG, None, 422, "invalid-request", "metadata"),
        ("?model=none", JPEG, None, 422, "unknown-model", "none"),
        ("", JPEG, b"", 400, "unreadable-picture", "empty"),
        ("", JPEG, b"junk" * 9, 400, "unreadable-picture", "not a picture"),
        ("", JPEG, b"%PDF-1.7", 400, "unreadable-picture", "PDF"),
        ("", BYTES, b"\x8bBBM\r\n\x1a\n", 400, "unreadable-picture", "container already"),
    ],
)
async def test_encode_refuses_in_words(
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
            assert problem["detail"] == "the photo is damaged or cut short"  # and no decoder's words


async def test_photos_are_held_to_bytes_and_pixels(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(encode_pixels=200 * 150 - 1)) as client:
        for path in ("/encode", "/page/photo"):
            answer = await client.post(path, content=jpeg, headers=JPEG)
            assert answer.status_code == 413
            assert "29999" in answer.json()["detail"]
    async with connect(make_bench(max_body_bytes=len(jpeg) - 1)) as client:
        assert (await client.post("/encode", content=jpeg, headers=JPEG)).status_code == 413


async def test_every_route_that_takes_work_wants_the_key(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(api_keys=KEY)) as client:
        for path in ("/encode", "/page/facts", "/page/photo", "/page/compare?container=1"):
            assert (await client.post(path, content=jpeg, headers=JPEG)).status_code == 401
            wrong = JPEG | {"X-API-Key": "not-a-key-of-theirs"}
            assert (await client.post(path, content=jpeg, headers=wrong)).status_code == 403
        for path in ("/", "/page/main.js", "/page/limits"):  # the page has to come up to ask for the key
            assert (await client.get(path)).status_code == 200
        right = JPEG | {"Authorization": f"Bearer {KEY}"}
        assert (await client.post("/encode", content=jpeg, headers=right)).status_code == 200


async def test_places_and_time_are_bounded(
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
            # What runs holds its place until it has ended; what waited is gone at once and is never begun.
            await asyncio.to_thread(wait_for, lambda: len(queue) == 1)
    finally:
        gate.set()
    await asyncio.to_thread(wait_for, lambda: len(queue) == 0)
    assert len(seen) == 1
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_slow_upload_holds_no_place(
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


@pytest.mark.parametrize("path", ["/encode", "/page/photo", "/page/compare?container={size}"])
async def test_a_client_that_leaves_stops_the_work(
    make_bench: Callable[..., Any],
    listen: Callable[..., Any],
    jpeg: bytes,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    path: str,
) -> None:
    bench = make_bench()
    service = bench.app.state.bbmr
    entered, gate, checked = threading.Event(), threading.Event(), []

    def slow(data: bytes, settings: Any) -> Any:
        entered.set()
        gate.wait(20)
        return load_photo(data)

    def noted(cancelled: Callable[[], bool]) -> None:
        checked.append(cancelled())
        check_cancelled(cancelled)

    for module in (encoding, measure):
        monkeypatch.setattr(module, "read_photo", slow)
        monkeypatch.setattr(module, "check_cancelled", noted)
    data = body + jpeg if "compare" in path else jpeg
    with listen(bench.app) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST {path.format(size=len(body))} HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            assert await asyncio.to_thread(entered.wait, 20)
        await asyncio.to_thread(wait_for, lambda: service.bodies.used == 0)
        assert len(service.encode_queue) == 1  # its thread is still at it
        gate.set()
        await asyncio.to_thread(wait_for, lambda: len(service.encode_queue) == 0)
    assert checked == [True]  # the work stopped at its first check


# What the page asks for


async def test_facts(make_bench: Callable[..., Any], connect: Any, container: Container, body: bytes) -> None:
    async with connect(make_bench()) as client:
        facts = (await client.post("/page/facts", content=body, headers=BYTES)).json()
        broken = await client.post("/page/facts", content=body[:-9], headers=BYTES)
    assert (facts["width"], facts["height"], facts["bytes"]) == (200, 150, len(body))
    assert facts["bpp"] == len(body) * 8 / (200 * 150)
    rates = [[2 ** int(digit) for digit in row] for row in facts["rate_map"]]
    assert rates == container.rate_map.tolist()
    assert sum(facts["rates"].values()) == facts["rows"] * facts["cols"] == container.rate_map.size
    assert broken.json()["type"] == "urn:bbmr:problem:unreadable-container"


async def test_a_photo_to_look_at_is_upright_and_exact(
    make_bench: Callable[..., Any], connect: Any, photo: Image.Image
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    photo.save(out, "TIFF", exif=exif)
    async with connect(make_bench()) as client:
        answer = await client.post(
            "/page/photo", content=out.getvalue(), headers={"Content-Type": "image/tiff"}
        )
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert np.array_equal(np.asarray(picture), load_photo(out.getvalue()).rgb)
        assert picture.size == (150, 200)


async def test_figures_are_those_of_the_metrics_module(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench()) as client:
        container = (await client.post("/encode?rate=3", content=jpeg, headers=JPEG)).content
        made = await client.post("/reconstruct", content=container, headers={"Content-Type": MEDIA_TYPE})
        path = f"/page/compare?container={len(container)}"
        figures = (await client.post(path, content=container + jpeg, headers=BYTES)).json()
    photo = load_photo(jpeg).rgb
    with Image.open(io.BytesIO(made.content)) as picture:
        back = np.asarray(picture.convert("RGB"))
    assert figures["bbmr"] == {
        "bytes": len(container),
        "bpp": len(container) * 8 / photo[..., 0].size,
        "psnr_rgb": psnr_rgb(photo, back),
        "psnr_y": psnr_y(photo, back),
    }
    theirs, rescaled = figures["avif"], figures["rescaled"]
    assert theirs["bytes"] <= len(container)
    assert (theirs["scale"], theirs["speed"]) == (1, 8)
    assert rescaled["pixels"] <= 200 * 150 / 9 + 1000
    small = resized(photo, (rescaled["width"], rescaled["height"]))
    assert rescaled["bytes"] == len(encode_plane(small, "webp")[1])
    assert rescaled["bpp"] == rescaled["bytes"] * 8 / photo[..., 0].size
    assert rescaled["psnr_rgb"] == psnr_rgb(photo, resized(small, (200, 150)))
    assert figures["model"] == "light"


async def test_equal_pictures_have_no_psnr(make_bench: Callable[..., Any], connect: Any, jpeg: bytes) -> None:
    async with connect(make_bench()) as client:
        container = (await client.post("/encode?rate=1", content=jpeg, headers=JPEG)).content
        path = f"/page/compare?container={len(container)}"
        figures = (await client.post(path, content=container + jpeg, headers=BYTES)).json()
    assert figures["bbmr"]["psnr_rgb"] is None
    assert figures["rescaled"] is None  # there is nothing to scale
    assert figures["avif"]["psnr_rgb"] > 30


async def test_compare_refuses_what_does_not_belong_together(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, body: bytes, photo: Image.Image
) -> None:
    out = io.BytesIO()
    photo.crop((0, 0, 100, 100)).save(out, "PNG")
    cases = [
        (len(body), body, 422, "no photo after"),
        (len(body) + 5, body, 422, "no photo after"),
        (len(body), body + out.getvalue(), 422, "made from another photo"),
        (len(body) - 5, body + jpeg, 400, ""),
        (0, body + jpeg, 422, "container"),
    ]
    bench = make_bench()
    async with connect(bench) as client:
        for length, data, status, words in cases:
            answer = await client.post(f"/page/compare?container={length}", content=data, headers=BYTES)
            assert answer.status_code == status, answer.text
            assert words in answer.json()["detail"]
    assert len(bench.app.state.bbmr.encode_queue) == 0
    assert bench.app.state.bbmr.bodies.used == 0


async def test_what_is_measured_lies_in_memory_once(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, seen = threading.Event(), []

    class Body(bytes):
        def __del__(self) -> None:
            let_go.set()

    async def read(*arguments: Any, **options: Any) -> bytes:
        return Body(await encoding_read_body(*arguments, **options))

    def look(data: bytes, settings: Any) -> Any:
        seen.append((let_go.is_set(), data == jpeg))
        return load_photo(data)

    encoding_read_body = encoding.read_body
    monkeypatch.setattr(encoding, "read_body", read)
    monkeypatch.setattr(measure, "read_photo", look)
    async with connect(make_bench()) as client:
        path = f"/page/compare?container={len(body)}"
        answer = await client.post(path, content=body + jpeg, headers=BYTES)
    assert answer.status_code == 200
    assert seen == [(True, True)]


def test_avif_is_the_best_that_fits(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    found = avif_within(pixels, 6000, lambda: False)
    assert found is not None
    assert len(found.data) <= 6000
    assert (found.scale, found.quality >= LOW_QUALITY) == (1, True)
    assert len(encode_plane(pixels, "avif", quality=found.quality + 1, speed=8)[1]) > 6000
    assert found.picture.shape == pixels.shape
    assert avif_within(pixels, 100, lambda: False) is None


def test_avif_of_fewer_pixels_where_the_whole_photo_does_not_fit(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    smallest = [
        len(encode_plane(resized(pixels, size), "avif", quality=0, speed=8)[1])
        for size in ((200, 150), (100, 75), (50, 38), (25, 19))
    ]
    for before, size, scale in zip(smallest, smallest[1:], (2, 4, 8), strict=False):
        assert size < before
        found = avif_within(pixels, before - 1, lambda: False)
        assert found is not None
        assert found.scale >= scale
        assert found.picture.shape == pixels.shape
        assert len(found.data) < before
    assert avif_within(pixels, smallest[-1] - 1, lambda: False) is None


def test_avif_at_a_low_quality_has_to_beat_fewer_pixels(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.asarray(photo)
    whole_at = {q: len(encode_plane(pixels, "avif", quality=q, speed=8)[1]) for q in (0, LOW_QUALITY - 1)}
    for size in whole_at.values():
        found = avif_within(pixels, size, lambda: False)
        tried = []
        for scale in (1, 2):
            monkeypatch.setattr(avif, "SCALES", (scale,))
            tried.append(avif_within(pixels, size, lambda: False))
        monkeypatch.undo()
        whole, half = tried
        assert found is not None
        assert whole is not None
        assert half is not None
        assert whole.quality < LOW_QUALITY
        best = max(psnr_rgb(pixels, whole.picture), psnr_rgb(pixels, half.picture))
        assert psnr_rgb(pixels, found.picture) >= best


def test_looking_for_avif_can_be_given_up_at_any_step(photo: Image.Image) -> None:
    pixels, steps = np.asarray(photo), []

    def soon() -> bool:
        steps.append(None)
        return len(steps) > 12  # which is at the second size

    with pytest.raises(WorkCancelledError):
        avif_within(pixels, 6000, lambda: True)
    with pytest.raises(WorkCancelledError):
        avif_within(pixels, 100, soon)
    assert len(steps) == 13


def test_rescaling_keeps_at_most_as_many_pixels(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    few, many = rescaled(pixels, 500), rescaled(pixels, 8000)
    assert few is not None
    assert many is not None
    assert few["pixels"] <= 500 < many["pixels"] <= 8000  # type: ignore[operator]
    assert few["psnr_rgb"] < many["psnr_rgb"]  # type: ignore[operator]
    assert few["bytes"] < many["bytes"]  # type: ignore[operator]
    assert rescaled(pixels, 200 * 150) is None
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    one_channel = encode_plane(resized(grey, (few["width"], few["height"]))[..., 0], "webp")  # type: ignore[arg-type]
    assert rescaled(grey, 500, grey=True)["bytes"] == len(one_channel[1])  # type: ignore[index]
