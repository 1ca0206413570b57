"""Connections: uvicorn's HTTP/1.1 protocol with bounds on what a client may leave undone.

In: the settings. Out: a protocol class for `uvicorn.Config(http=…)`. A connection without a whole request head, one
whose client does not take its answer, and one too many are each ended; what lies between (the body, the work) has
bounds of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

from . import logs
from .middleware import CROWDED
from .settings import Settings

KEEP_ALIVE_S = 15
"""Seconds an idle connection is kept after an answer."""
SPARE = 64
"""Connections over the limit that are still told so; any more are closed without a word."""

Stage = Literal["head", "work", "answer"]


def bounded_protocol(settings: Settings) -> type[H11Protocol]:
    """A protocol class that keeps to `head_timeout_s`, `send_timeout_s` and `max_connections`."""
    limits: dict[Stage, float] = {
        "head": settings.head_timeout_s,
        "work": float("inf"),
        "answer": settings.send_timeout_s,
    }
    most = settings.max_connections
    tick = min(1.0, settings.head_timeout_s / 4, settings.send_timeout_s / 4)

    class BoundedProtocol(H11Protocol):
        """One connection. It looks at itself every tick: bounds are kept to within one."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most + SPARE:
                transport.abort()
                return
            if len(self.connections) > most:
                self.app_state: dict[str, Any] = {
                    **self.app_state,
                    CROWDED: lambda: len(self.connections) > most,
                }
            self._seen: tuple[Stage, object] = ("head", None)
            self._since = self.loop.time()
            self._timer = self.loop.call_later(tick, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _look(self) -> None:
            now = self.loop.time()
            seen = (self._stage(), self.cycle)  # each request has a cycle of its own
            if seen != self._seen:
                self._seen, self._since = seen, now
            elif now - self._since >= limits[seen[0]]:
                if seen[0] == "head":
                    self.transport.close()
                else:  # `close` would wait for the client to take what is still unsent
                    logs.events.info("a client did not take its answer in time")
                    self.transport.abort()
                return
            self._timer = self.loop.call_later(tick, self._look)

        def _stage(self) -> Stage:
            if self.transport.get_write_buffer_size():
                return "answer"
            if self.cycle is None or self.cycle.response_complete:
                return "head"
            return "answer" if self.cycle.response_started else "work"

    return BoundedProtocol
