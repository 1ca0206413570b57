"""The routes under /page/: limits, facts, photos as PNG, comparisons."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.photo import load_photo
from bbmr_server import app_state
from bbmr_server.page import measure
from bbmr_server.page.avif import resized
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_rgb, psnr_y

pytestmark = pytest.mark.anyio
JPEG = {"Content-Type": "image/jpeg"}
BYTES = {"Content-Type": "application/octet-stream"}


async def test_limits_are_those_of_the_settings(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench(start=False, max_body_bytes=5000, max_pixels=90_000, encode_pixels=80_000)
    async with connect(bench) as client:
        limits = (await client.get("/page/limits")).json()
    assert (limits["max_body_bytes"], limits["max_photo_pixels"]) == (5000, 80_000)
    assert [entry["rate"] for entry in limits["rates"]] == [1, 2, 4, 8, 16]
    assert all(re.fullmatch(r"#[0-9a-f]{6}", entry["colour"]) for entry in limits["rates"])


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


async def test_a_photo_as_png_is_upright_and_exact(
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
    assert figures["rescaled"] is None  # no pixel is removed
    assert figures["avif"]["psnr_rgb"] > 30


async def test_compare_refuses_a_mismatched_photo(
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


async def test_compare_holds_the_body_in_memory_once(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, seen = threading.Event(), []

    class Body(bytes):
        def __del__(self) -> None:
            let_go.set()

    async def read(*arguments: Any, **options: Any) -> bytes:
        return Body(await read_body(*arguments, **options))

    def look(data: bytes, settings: Any) -> Any:
        seen.append((let_go.is_set(), data == jpeg))
        return load_photo(data)

    read_body = app_state.read_body
    monkeypatch.setattr(app_state, "read_body", read)
    monkeypatch.setattr(measure, "read_photo", look)
    async with connect(make_bench()) as client:
        path = f"/page/compare?container={len(body)}"
        answer = await client.post(path, content=body + jpeg, headers=BYTES)
    assert answer.status_code == 200
    assert seen == [(True, True)]
