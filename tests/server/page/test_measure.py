"""The routes under /page/ beside comparisons: limits, facts, photos as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.photo import load_photo
from bbmr_shared.container import Container

pytestmark = pytest.mark.anyio
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
