"""Connections: uvicorn's HTTP/1.1 protocol with bounds on what a client may leave undone.

In: the settings. Out: a protocol class for `uvicorn.Config(http=…)`. A connection without a whole request head, one
whose client does not take its answer, and one too many are each ended; what lies between (the body, the work) has
bounds of its own. What is no HTTP, or has too large a head, goes to the application as a request that is marked
(`middleware.FAULT`), so that it is answered, logged and counted like any other; then the connection ends.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from bbmr_server.errors import HeadTooLargeError, MalformedRequestError, RequestError
from bbmr_server.observability import logs
from bbmr_server.settings import Settings

from .middleware import CROWDED, FAULT

MAX_HEAD_BYTES = 64 << 10
"""Request line and headers together."""
KEEP_ALIVE_S = 15
"""Seconds an idle connection is kept after an answer."""
SPARE = 64
"""Connections over the limit that are still told so; any more are closed without a word."""

Stage = Literal["head", "work", "answer"]
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)
_UNREADABLE = h11.Request(method=b"-", target=b"-", headers=[], http_version=b"1.0")
"""Stands for a request that cannot be read."""
_QUOTED = re.compile(r":? *(?:bytearray\(|b['\"]).*", re.DOTALL)
"""What the client sent, in the messages of h11."""


def bounded_protocol(settings: Settings) -> type[H11Protocol]:
    """A protocol class that keeps to `head_timeout_s`, `send_timeout_s` and `max_connections`."""
    limits: dict[Stage, float] = {
        "head": settings.http.head_timeout_s,
        "work": float("inf"),
        "answer": settings.http.send_timeout_s,
    }
    most = settings.http.max_connections
    tick = min(1.0, settings.http.head_timeout_s / 4, settings.http.send_timeout_s / 4)

    class BoundedProtocol(H11Protocol):
        """One connection. It looks at itself every tick: bounds are kept to within one."""

        _timer: asyncio.TimerHandle | None = None

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.conn: _Connection = _Connection(h11.SERVER, MAX_HEAD_BYTES)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most + SPARE:
                transport.abort()
                return
            # asyncio does so only for sockets that were made with the protocol's number, which a listener's are not as
            # a rule. With Nagle's algorithm an answer's last piece waits 40 ms for the client's acknowledgement.
            made = transport.get_extra_info("socket")
            if made is not None and made.family in (socket.AF_INET, socket.AF_INET6):
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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

        def data_received(self, data: bytes) -> None:
            if self.conn.fault is None:  # nobody knows what comes after one
                super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.fault is None:
                return
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()  # it was in the body of a request that is answered already
                return
            self.cycle.scope["state"][FAULT] = self.conn.fault
            self.cycle.message_event.set()

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


class _Connection(h11.Connection):
    """HTTP/1.1 that never raises: `fault` says what is wrong, and after that nothing is read any more.

    Where a request would have begun, one that stands for it comes out. Targets are without scheme and host.
    """

    fault: RequestError | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.fault is not None:
            return h11.NEED_DATA
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.fault = _fault_of(error)
            return _UNREADABLE if self.our_state is h11.IDLE else h11.NEED_DATA
        if not isinstance(event, h11.Request):
            return event
        if _size(event) > MAX_HEAD_BYTES:  # h11 bounds only what it has to wait for
            self.fault = _too_large()
        return _in_origin_form(event)


def _fault_of(error: h11.RemoteProtocolError) -> RequestError:
    if error.error_status_hint == HeadTooLargeError.status:
        return _too_large()
    return MalformedRequestError(f"this is not HTTP/1.1 (RFC 9112): {_QUOTED.sub('', str(error)).lower()}")


def _too_large() -> HeadTooLargeError:
    return HeadTooLargeError(f"request line and headers have more than {MAX_HEAD_BYTES} bytes")


def _size(request: h11.Request) -> int:
    """Bytes of the request line and the headers."""
    fields = sum(len(name) + len(value) + len(": \r\n") for name, value in request.headers)
    return len(request.method) + len(request.target) + len("  HTTP/1.1\r\n\r\n") + fields


def _in_origin_form(request: h11.Request) -> h11.Request:
    """`http://host/path` → `/path`; the host takes the place of the header's (RFC 9112, section 3.2.2)."""
    found = _ABSOLUTE.match(request.target)
    if found is None:
        return request
    rest = request.target[found.end() :]
    fields = [(name, found[1] if name == b"host" else value) for name, value in request.headers]
    return h11.Request(
        method=request.method,
        target=rest if rest.startswith(b"/") else b"/" + rest,
        headers=fields,
        http_version=request.http_version,
    )
