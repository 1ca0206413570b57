"""CORS: what a preflight allows, for how long, and which headers pages of other origins may read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.anyio
ORIGIN = "https://photos.example"


def preflight(method: str, *headers: str, origin: str = ORIGIN) -> dict[str, str]:
    asked = {"Access-Control-Request-Headers": ", ".join(headers)} if headers else {}
    return {"Origin": origin, "Access-Control-Request-Method": method, **asked}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
async def test_a_preflight_allows_every_method_of_the_interface_and_may_be_cached(
    make_bench: Callable[..., Any], connect: Any, method: str
) -> None:
    async with connect(make_bench(start=False, cors_origins=ORIGIN)) as client:
        answer = await client.options("/reconstruct", headers=preflight(method))
    assert answer.status_code == 200
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert int(answer.headers["access-control-max-age"]) >= 3600
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers  # a cookie is never asked for


@pytest.mark.parametrize(
    "header", ["authorization", "x-api-key", "content-type", "if-none-match", "range", "x-request-id"]
)
async def test_a_preflight_allows_every_header_of_the_interface(
    make_bench: Callable[..., Any], connect: Any, header: str
) -> None:
    async with connect(make_bench(start=False, cors_origins=ORIGIN)) as client:
        assert (await client.options("/reconstruct", headers=preflight("POST", header))).status_code == 200


async def test_a_preflight_refuses_what_is_not_allowed(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False, cors_origins=ORIGIN)) as client:
        for headers in (
            preflight("PATCH"),
            preflight("POST", "x-strange"),
            preflight("POST", origin="https://evil.example"),
            preflight("POST", origin=ORIGIN + ".evil.example"),
            preflight("POST", origin="null"),
        ):
            answer = await client.options("/reconstruct", headers=headers)
            assert answer.status_code == 400
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed != headers["Origin"] or headers["Origin"] == ORIGIN


async def test_a_preflight_needs_no_key(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench(start=False, cors_origins=ORIGIN, api_keys="9f3b5c0d71e84a26b7d2c41e")
    async with connect(bench) as client:
        assert (await client.options("/models", headers=preflight("GET", "authorization"))).status_code == 200
        refused = await client.get("/models", headers={"Origin": ORIGIN})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN  # the page can read why


async def test_a_star_allows_every_origin(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False, cors_origins="*")) as client:
        answer = await client.get("/models", headers={"Origin": "https://anybody.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"BBMR-Model", "Server-Timing", "ETag", "Location", "Content-Range", "X-Request-ID"} <= exposed
