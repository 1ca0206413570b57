"""POST /reconstruct answers every malformed container with a problem document or the picture, never with 500."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bbmr_shared import errors
from bbmr_shared.container import MEDIA_TYPE
from tests.fuzz.damage import CORPUS
from tests.fuzz.recipes import MANIFEST
from tests.vectors.make import FOLDER, INDEX

pytestmark = pytest.mark.anyio

EXPECTED = {
    CORPUS / f"{name}.bbmr": entry["outcome"] for name, entry in json.loads(MANIFEST.read_text()).items()
}
EXPECTED |= {
    FOLDER / "invalid" / f"{name}.bbmr": error
    for name, error in json.loads(INDEX.read_text())["invalid"].items()
}


async def test_every_malformed_container_is_answered(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench()) as client:
        for path, outcome in EXPECTED.items():
            response: httpx.Response = await client.post(
                "/reconstruct", content=path.read_bytes(), headers={"Content-Type": MEDIA_TYPE}
            )
            if outcome == "decoded":
                assert response.status_code == 200, path.name
                continue
            error = getattr(errors, outcome.removeprefix("decode "))
            assert response.status_code == error.status, path.name
            assert response.headers["content-type"] == "application/problem+json"
            document = response.json()
            assert document["type"] == errors.PROBLEM_PREFIX + error.slug
            assert document["detail"].isprintable()
            assert "Traceback" not in response.text
        assert (await client.get("/readyz")).status_code == 200
