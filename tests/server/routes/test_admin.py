"""Swapping weights over HTTP and by a signal: needs a key, tries the weights first, and loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bbmr_models.cards import SHIPPED
from bbmr_server.app import create_app
from bbmr_server.engine import Engine, PictureRequest
from bbmr_server.loading import make_engine
from bbmr_server.routes.admin import reload_on_hangup
from bbmr_server.settings import Settings
from bbmr_shared.container import Container
from tests.server.conftest import wait_until
from tests.server.fakes import FakeNetwork, fake_engine, fake_model

pytestmark = pytest.mark.anyio
KEY = "an-operators-key-0f3b"
BEARER = {"Authorization": f"Bearer {KEY}"}


@contextlib.asynccontextmanager
async def operated(settings: Settings, engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    engine.start()
    await asyncio.to_thread(wait_until, lambda: engine.ready, 60)
    transport = httpx.ASGITransport(create_app(settings, engine))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=60) as client:
            yield client
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_without_admin_keys_there_is_no_such_route() -> None:
    settings = Settings(api_keys=KEY)
    async with operated(settings, fake_engine(FakeNetwork(), read=fake_model)) as client:
        for name in ("light", "no.name"):
            answer = await client.post(f"/admin/models/{name}", headers=BEARER)
            assert answer.status_code == 404
            assert answer.json()["type"] == "urn:bbmr:problem:not-found"


async def test_only_an_admin_key_swaps() -> None:
    settings = Settings(api_keys="a-visitors-key-77d1", admin_keys=KEY)
    new = fake_model("light", "2")
    async with operated(settings, fake_engine(FakeNetwork(), read=lambda name: new)) as client:
        for name in ("light", "no.name"):
            assert (await client.post(f"/admin/models/{name}")).status_code == 401
        refused = await client.post("/admin/models/no.name", headers=BEARER)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "name")
        visitor = {"Authorization": "Bearer a-visitors-key-77d1"}
        assert (await client.post("/admin/models/light", headers=visitor)).status_code == 403
        assert (await client.post("/admin/models/..%2Flight", headers=BEARER)).status_code in (404, 422)
        answer = await client.post("/admin/models/light", headers=BEARER)
        listed = (await client.get("/models", headers=visitor)).json()["models"]
    assert answer.status_code == 200
    assert answer.json() == {"name": "light", "sha256": "2" * 64}
    assert listed == [{"name": "light", "sha256": "2" * 64}]


async def test_a_corrupt_file_at_the_swap_leaves_the_old_weights_serving(
    tmp_path: Path, container: Container
) -> None:
    """With real worker processes: truncated, changed inside, of another kind, and finally a good one."""
    good = (SHIPPED / "light.safetensors").read_bytes()
    file = tmp_path / "light.safetensors"
    file.write_bytes(good)
    settings = Settings(device="cpu", model_dir=str(tmp_path), admin_keys=KEY)
    engine = make_engine(settings)
    async with operated(settings, engine) as client:
        before = await engine.reconstruct(PictureRequest(container))
        head = int.from_bytes(good[:8], "little") + 8
        nan = good[:head] + b"\xff\x7e" * ((len(good) - head) // 2)
        for bad in (good[: len(good) // 2], b"", b"\0" * 100, nan):
            file.write_bytes(bad)
            answer = await client.post("/admin/models/light", headers=BEARER)
            # Not 503: proxies and clients would repeat the request, also at other servers.
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:bbmr:problem:weights"), len(bad)
            assert (await client.get("/readyz")).status_code == 200
        assert (await engine.reconstruct(PictureRequest(container))).data == before.data
        file.write_bytes((SHIPPED / "omnisr.safetensors").read_bytes())
        answer = await client.post("/admin/models/light", headers=BEARER)
        assert answer.json()["architecture"] == "JointSR/omnisr"
        assert (await engine.reconstruct(PictureRequest(container))).data != before.data


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
async def test_a_hangup_reloads_every_model_and_says_what_went_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read(name: str) -> Any:
        return fake_model(name, "2", b"broken" if name == "first" else b"good")

    engine = fake_engine(FakeNetwork(), Settings(model="first,light"), read=read)
    engine.start()
    await asyncio.to_thread(wait_until, lambda: engine.ready)
    reload_on_hangup(engine)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)  # the loop sees the signal
        await asyncio.to_thread(wait_until, lambda: engine.catalogue["light"]["sha256"] == "2" * 64)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        await asyncio.to_thread(engine.stop, 5)
    assert engine.catalogue["first"]["sha256"] == "1" * 64
    assert "'first' were not swapped" in caplog.text
