"""uvicorn's HTTP/1.1 protocol with bounds on what a client may leave undone.

A connection ends if it has no complete request head in time, if its client does not take the answer, or if there are
too many; the body and the work have bounds elsewhere. A request that is not HTTP, or whose head is too large, goes to
the application with a mark (`middleware.FAULT`), so that it is answered, logged and counted like any other; then the
connection ends.

Of uvicorn this uses `H11Protocol` (`conn`, `connections`, `cycle`, `transport`, `loop`, `app_state`, `handle_events`)
and its request cycle (`scope`, `message_event`, `response_started`, `response_complete`). They are no public interface,
so pyproject.toml caps uvicorn.
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
from bbmr_server.settings import HttpSettings

from .middleware import FAULT, OVER_LIMIT, WORKING

MAX_HEAD_BYTES = 64 << 10
"""Bytes of the request line and the headers together."""
KEEP_ALIVE_S = 15
"""Seconds for which a connection stays open after an answer."""
SPARE = 64
"""Connections over the limit that get an answer that says so; further ones are closed without an answer."""

Stage = Literal["head", "work", "answer"]
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)
_UNREADABLE = h11.Request(method=b"-", target=b"-", headers=[], http_version=b"1.0")
"""Stands for a request that cannot be read."""
_QUOTED = re.compile(r":? *(?:bytearray\(|b['\"]).*", re.DOTALL)
"""What the client sent, as h11's messages quote it."""


def bounded_protocol(settings: HttpSettings) -> type[H11Protocol]:
    """Returns a protocol class for `uvicorn.Config(http=…)` with the bounds of the settings.

    These are `head_timeout_s`, `send_timeout_s` and `max_connections`.
    """
    limits: dict[Stage, float] = {
        "head": settings.head_timeout_s,
        "work": float("inf"),
        "answer": settings.send_timeout_s,
    }
    most = settings.max_connections
    tick = min(1.0, settings.head_timeout_s / 4, settings.send_timeout_s / 4)

    class BoundedProtocol(H11Protocol):
        """One connection. It checks itself every tick, so it keeps the bounds to within one tick."""

        _timer: asyncio.TimerHandle | None = None

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.conn: _Connection = _Connection(h11.SERVER, MAX_HEAD_BYTES)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most + SPARE:
                transport.abort()
                return
            _send_at_once(transport)
            if len(self.connections) > most:
                self.app_state: dict[str, Any] = {
                    **self.app_state,
                    OVER_LIMIT: lambda: len(self.connections) > most,
                }
            self._seen: tuple[Stage, object] = ("head", None)
            self._since = self.loop.time()
            self._timer = self.loop.call_later(tick, self._check)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.conn.fault is None:  # after a fault, nobody knows where a request begins
                super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.fault is None:
                return
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()  # the fault was in the body of a request that is already answered
                return
            self.cycle.scope["state"][FAULT] = self.conn.fault
            self.cycle.message_event.set()

        def _check(self) -> None:
            now = self.loop.time()
            seen = (self._stage(), self.cycle)  # each request has its own cycle
            if seen != self._seen:
                self._seen, self._since = seen, now
            elif now - self._since >= limits[seen[0]]:
                self._time_out(seen[0])
                return
            self._timer = self.loop.call_later(tick, self._check)

        def _time_out(self, stage: Stage) -> None:
            if stage == "head":
                self.transport.close()
            else:  # `close` would wait until the client takes what is not sent yet
                logs.events.info("a client did not take its answer in time")
                self.transport.abort()

        def _stage(self) -> Stage:
            if self.transport.get_write_buffer_size():
                return "answer"
            if self.cycle is None or self.cycle.response_complete:
                return "head"
            working = not self.cycle.response_started or self.cycle.scope["state"].get(WORKING)
            return "work" if working else "answer"

    return BoundedProtocol


def _send_at_once(transport: asyncio.Transport) -> None:
    """Turn off Nagle's algorithm, with which the last piece of an answer waits 40 ms for an acknowledgement.

    asyncio does so only for sockets that were made with the number of the protocol, which a listener's usually are not.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Connection(h11.Connection):
    """HTTP/1.1 that never raises: `fault` says what is wrong, and nothing is read after it.

    Where a request would have begun, `_UNREADABLE` stands for it. Targets come without scheme and host.
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
        if _size(event) > MAX_HEAD_BYTES:  # h11 itself bounds only an incomplete head
            self.fault = _too_large()
        return _in_origin_form(event)


def _fault_of(error: h11.RemoteProtocolError) -> RequestError:
    if error.error_status_hint == HeadTooLargeError.status:
        return _too_large()
    return MalformedRequestError(f"this is not HTTP/1.1 (RFC 9112): {_QUOTED.sub('', str(error)).lower()}")


def _too_large() -> HeadTooLargeError:
    return HeadTooLargeError(f"request line and headers have more than {MAX_HEAD_BYTES} bytes")


def _size(request: h11.Request) -> int:
    """Returns the bytes of the request line and the headers."""
    fields = sum(len(name) + len(value) + len(": \r\n") for name, value in request.headers)
    return len(request.method) + len(request.target) + len("  HTTP/1.1\r\n\r\n") + fields


def _in_origin_form(request: h11.Request) -> h11.Request:
    """Turns the target `http://host/path` into `/path`, and the Host header into `host` (RFC 9112, section 3.2.2)."""
    match = _ABSOLUTE.match(request.target)
    if match is None:
        return request
    rest = request.target[match.end() :]
    fields = [(name, match[1] if name == b"host" else value) for name, value in request.headers]
    return h11.Request(
        method=request.method,
        target=rest if rest.startswith(b"/") else b"/" + rest,
        headers=fields,
        http_version=request.http_version,
    )
