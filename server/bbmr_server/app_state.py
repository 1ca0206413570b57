"""What all routes of one app share: settings, engine, keys, memory for bodies, metrics."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from bbmr_server.encode_queue import EncodeQueue
from bbmr_server.engine.interface import EngineLike
from bbmr_server.http.body import BodyMemory, BodyShare, read_body
from bbmr_server.http.problems import TITLES
from bbmr_server.observability.metrics import Metrics
from bbmr_shared.container import Container
from bbmr_shared.container.frame import read_header
from bbmr_shared.container.header import Header

from .keys import check_apart, load_admin_keys, load_keys
from .settings import Settings

READERS = 2
"""Threads that read containers and headers of stored ones; others wait."""


class AppState:
    """The app holds one of these in `app.state.bbmr`. The store has its own state beside it.

    Raises:
        UsageError: the keys are bad.
    """

    def __init__(self, settings: Settings, engine: EngineLike) -> None:
        self.settings = settings
        self.engine = engine
        self.keys = load_keys(settings)
        self.admin_keys = load_admin_keys(settings)
        check_apart(self.keys, self.admin_keys)
        self.bodies = BodyMemory(settings.http.body_memory_bytes)
        self.metrics = Metrics(TITLES)
        engine.observer = self.metrics.observer
        self.metrics.observe_engine(engine)
        self.metrics.gauge(
            "bbmr_body_memory_bytes", "Bytes of bodies and answers in memory", lambda: self.bodies.used
        )
        self.encode_queue = EncodeQueue(settings.page.encode_queue_length)
        self.photo_turn = asyncio.Lock()
        """Held while the samples of a photo stay in memory between two pieces of work in the encode queue."""
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="bbmr-read")
        self._reading = asyncio.Semaphore(READERS)

    async def read_body(self, request: Request, share: BodyShare) -> bytes:
        """Returns the body of a request, within the limits of the settings.

        Raises:
            LimitExceededError, UploadTimeoutError, QueueFullError
        """
        return await read_body(
            request.stream(),
            request.headers.get("content-length"),
            limit=self.settings.http.max_body_bytes,
            timeout=self.settings.http.upload_timeout_s,
            share=share,
        )

    async def read_container(self, data: bytes | memoryview, share: BodyShare | None = None) -> Container:
        """Check a container against the limits, off the event loop. Nothing is decoded.

        The container has copies of its planes. `share` counts them while it is read; a caller that keeps both `data`
        and the container counts them further.

        Raises:
            ContainerError, LimitExceededError
        """
        loop = asyncio.get_running_loop()
        async with self._reading:  # a container that waits in the pool would already be counted twice
            with contextlib.nullcontext() if share is None else share.holding(len(data)):
                return await loop.run_in_executor(
                    self._readers, Container.from_bytes, data, self.settings.limits
                )

    async def read_header(self, data: memoryview) -> Header:
        """Returns the header at the start of a container; reads it off the event loop.

        Raises:
            ContainerError, LimitExceededError
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, read_header, data, self.settings.limits)

    def refuse_all(self) -> None:
        """Refuse every request that is accepted and not finished, and accept no more."""
        self.engine.refuse_all()
        self.encode_queue.refuse_all()

    def close(self) -> None:
        """End the threads. The engine has its own `stop`."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.encode_queue.close()


def get_state(request: Request) -> AppState:
    """The dependency that gives routes the state of their app."""
    state: AppState = request.app.state.bbmr
    return state
