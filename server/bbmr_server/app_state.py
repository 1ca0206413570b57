"""What the routes of one app share: settings, engine, keys, memory for bodies, metrics."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from bbmr_server.encode_queue import EncodeQueue
from bbmr_server.engine.interface import EngineLike
from bbmr_server.http.body import BodyMemory, BodyShare
from bbmr_server.observability.metrics import Metrics
from bbmr_shared.container import Container
from bbmr_shared.container.frame import read_header
from bbmr_shared.container.header import Header

from .keys import check_apart, load_admin_keys, load_keys
from .settings import Settings
from .store import open_store

READERS = 2
"""Containers, and headers of stored ones, that are read at once; the others wait."""


class Service:
    """One of these lies in `app.state.service`."""

    def __init__(self, settings: Settings, engine: EngineLike) -> None:
        self.settings = settings
        self.engine = engine
        self.keys = load_keys(settings)
        self.admin_keys = load_admin_keys(settings)
        check_apart(self.keys, self.admin_keys)
        self.bodies = BodyMemory(settings.http.body_memory_bytes)
        self.metrics = Metrics()
        engine.observer = self.metrics.observer
        self.metrics.watch(engine)
        self.metrics.gauge(
            "bbmr_body_memory_bytes", "Bytes of bodies and answers in memory", lambda: self.bodies.used
        )
        self.encode_queue = EncodeQueue(settings.page.encode_queue_length)
        self.store = open_store(settings, self.metrics.registry, len(self.keys))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="bbmr-read")
        self._reading = asyncio.Semaphore(READERS)

    async def read_container(self, data: bytes | memoryview, share: BodyShare | None = None) -> Container:
        """Check a container against the limits, off the event loop. Nothing is decoded.

        The container has copies of its planes. They are counted in `share` while it is read: whoever goes on with both
        `data` and the container counts them further.

        Raises:
            ContainerError, LimitExceededError
        """
        loop = asyncio.get_running_loop()
        async with self._reading:  # what waits in the pool itself would be counted twice already
            with contextlib.nullcontext() if share is None else share.holding(len(data)):
                return await loop.run_in_executor(
                    self._readers, Container.from_bytes, data, self.settings.limits
                )

    async def read_header(self, data: memoryview) -> Header:
        """The header at the start of a container, read off the event loop.

        Raises:
            ContainerError, LimitExceededError
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, read_header, data, self.settings.limits)

    def refuse_all(self) -> None:
        """Refuse whatever is accepted and not finished, and take nothing more."""
        self.engine.refuse_all()
        self.encode_queue.refuse_all()

    def close(self) -> None:
        """End the threads; the engine has its own `stop`."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        if self.store is not None:
            self.store.close()
        self.encode_queue.close()


def service_of(request: Request) -> Service:
    """The dependency by which routes get at what they share."""
    service: Service = request.app.state.service
    return service
