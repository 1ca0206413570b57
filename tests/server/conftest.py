"""Fixtures of the server's tests: small containers, an app over a fake network, and a server that listens."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.app import create_app
from bbmr_server.engine import Engine
from bbmr_server.http.protocol import bounded_protocol
from bbmr_server.settings import Settings
from bbmr_shared.container import Container

from .fakes import FakeNetwork, fake_engine


@dataclass
class Bench:
    """An app with its engine and its fake network."""

    app: FastAPI
    engine: Engine
    network: FakeNetwork


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as `condition()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextlib.asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    """The engine is started and ready, and stopped afterwards."""
    engine.start()
    try:
        await asyncio.to_thread(wait_until, lambda: engine.ready)
        yield
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def written(bench: Any) -> None:
    """Wait until the pictures that were answered are in the cache, or were dropped."""
    await asyncio.gather(*bench.app.state.store.pictures._tasks)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def keep_loggers() -> Iterator[None]:
    """Undo whatever a test does to the loggers."""
    loggers = [logging.getLogger(name) for name in ("bbmr_server", "uvicorn", "opentelemetry")]
    kept = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """200×150 pixels with smooth and rough parts, so that the blocks have different rates."""
    y, x = np.mgrid[0:150, 0:200]
    smooth = np.stack([x, y, (x + y) // 2], axis=-1)
    noise = np.random.default_rng(5).integers(0, 255, (150, 72, 3))
    smooth[:, 128:] = noise
    return Image.fromarray(smooth.astype(np.uint8))


@pytest.fixture(scope="session")
def container(photo: Image.Image) -> Container:
    return encode(photo, rate=3.0)


@pytest.fixture(scope="session")
def body(container: Container) -> bytes:
    return container.to_bytes()


@pytest.fixture(scope="session")
def digest(body: bytes) -> str:
    """SHA-256 of `body`, as in its address."""
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """`make_bench(start=True, **settings)`: an app over a fake network; its engine is stopped afterwards."""
    made: list[Bench] = []

    def make(start: bool = True, **settings: Any) -> Bench:
        network = FakeNetwork()
        checked = Settings(**settings)
        engine = fake_engine(network, checked)
        bench = Bench(create_app(checked, engine), engine, network)
        made.append(bench)
        if start:
            engine.start()
            wait_until(lambda: engine.ready)
            network.entered.clear()
        return bench

    yield make
    for bench in made:
        bench.network.gate.set()
        bench.engine.stop(2.0)


@pytest.fixture
def connect() -> Callable[[Bench], httpx.AsyncClient]:
    """`async with connect(bench) as client`: a client that calls the app without a network."""

    def make(bench: Bench) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(bench.app)
        return httpx.AsyncClient(transport=transport, base_url="http://server", timeout=20)

    return make


@pytest.fixture
def listen() -> Callable[[FastAPI], contextlib.AbstractContextManager[int]]:
    """`with listen(app) as port`: the app served by uvicorn in a thread, on a free loopback port."""
    return _listen


@contextlib.contextmanager
def _listen(app: FastAPI) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=bounded_protocol(app.state.bbmr.settings.http),
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(condition, seconds=10)`: return as soon as `condition()` is true, fail afterwards."""
    return wait_until
