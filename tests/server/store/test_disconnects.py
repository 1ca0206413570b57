"""Requests for stored containers whose client disconnects: their waits and their work end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bbmr_server.store.backend import Backend
from bbmr_shared.container import Container
from tests.server.store.helpers import HEADERS, Gate, ask

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_disconnect_ends_the_wait_for_other_writers(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    method: str,
) -> None:
    monkeypatch.setattr(Backend, "_put", gate.before(Backend._put))
    bench = make_bench(store=str(tmp_path / "store"))
    memory, place = bench.app.state.bbmr.bodies, f"/containers/{digest}"
    with listen(bench.app) as port:
        with ask(port, "PUT", place, body) as first:
            assert gate.entered.wait(10)
            assert memory.used == len(body)
            content = body if method == "PUT" else b""
            with ask(port, method, place, content):
                if method == "PUT":
                    wait_for(lambda: memory.used == 2 * len(body))
                time.sleep(0.1)
            gone = f'method="{method}",route="/containers/{{digest}}",status="499"'
            wait_for(lambda: gone in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            assert memory.used == len(body)
            gate.opened.set()
            assert b" 201 " in first.recv(100)
        assert httpx.get(f"http://127.0.0.1:{port}{place}").content == body


@pytest.mark.parametrize("step", ["_range", "_get", "reader"])
def test_a_disconnect_ends_the_wait_for_the_store(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    step: str,
) -> None:
    bench = make_bench(store=str(tmp_path / "store"))
    with listen(bench.app) as port:
        address = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{address}/containers", content=body, headers=HEADERS).status_code == 201
        place = (Container, "from_bytes") if step == "reader" else (Backend, step)
        monkeypatch.setattr(*place, gate.before(getattr(*place)))
        with ask(port, "GET", f"/containers/{digest}/image"):
            assert gate.entered.wait(10)
        gone = 'method="GET",route="/containers/{digest}/image",status="499"'
        wait_for(lambda: gone in httpx.get(f"{address}/metrics").text)
        assert not gate.opened.is_set()
        assert bench.app.state.bbmr.bodies.used == 0


def test_a_disconnect_ends_the_wait_for_the_same_picture(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=tmp_path / "cache")
    place = f"/containers/{digest}/image"
    with listen(bench.app) as port:
        address = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{address}/containers", content=body, headers=HEADERS).status_code == 201
        bench.network.hold()
        with ask(port, "GET", place) as first:
            assert bench.network.entered.wait(10)
            with ask(port, "GET", place):
                time.sleep(0.2)
            gone = 'method="GET",route="/containers/{digest}/image",status="499"'
            wait_for(lambda: gone in httpx.get(f"{address}/metrics").text)
            assert bench.engine.inside == 1
            bench.network.gate.set()
            assert b" 200 " in first.recv(100)
