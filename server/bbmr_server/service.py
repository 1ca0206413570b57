"""What the routes of one app share: settings, engine, keys, memory for bodies, metrics."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from bbmr_shared.container import Container

from .body import BodyMemory
from .engine.interface import EngineLike
from .keys import check_apart, load_admin_keys, load_keys
from .metrics import Metrics
from .page.desk import Desk
from .settings import Settings
from .store import open_store


class Service:
    """One of these lies in `app.state.service`."""

    def __init__(self, settings: Settings, engine: EngineLike) -> None:
        self.settings = settings
        self.engine = engine
        self.keys = load_keys(settings)
        self.admin_keys = load_admin_keys(settings)
        check_apart(self.keys, self.admin_keys)
        self.bodies = BodyMemory(settings.body_memory_bytes)
        self.metrics = Metrics()
        engine.observer = self.metrics.observer
        self.metrics.watch(engine)
        self.metrics.gauge(
            "bbmr_body_memory_bytes", "Bytes of bodies and answers in memory", lambda: self.bodies.used
        )
        self.desk = Desk(settings.encode_queue_length)
        self.keeping = open_store(settings, self.metrics.registry, len(self.keys))
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="bbmr-read")

    async def read_container(self, data: bytes | memoryview) -> Container:
        """Check a container against the limits, off the event loop. Nothing is decoded.

        Raises:
            ContainerError, LimitExceededError
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, Container.from_bytes, data, self.settings.limits)

    def refuse_all(self) -> None:
        """Refuse whatever is accepted and not finished, and take nothing more."""
        self.engine.refuse_all()
        self.desk.refuse_all()

    def close(self) -> None:
        """End the threads; the engine has its own `stop`."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        if self.keeping is not None:
            self.keeping.close()
        self.desk.close()


def service_of(request: Request) -> Service:
    """The dependency by which routes get at what they share."""
    service: Service = request.app.state.service
    return service
