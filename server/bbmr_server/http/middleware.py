"""Middleware (plain ASGI), outermost first: `Watch`, `Linger`, `Crowd`, `Net`.

`Watch` sees every request and answer: request id, key, access log and metrics. `Linger` lets a client that is still
sending read why it was refused. `Crowd` refuses what is wrong with the connection. `Net` turns what nobody foresaw into
a problem document. Two more are there where the settings ask for them: `tracing.Trace` and
`ratelimit.RateLimit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bbmr_server.errors import NotReadyError, RequestError
from bbmr_server.keys import KeyRing
from bbmr_server.observability import logs
from bbmr_server.observability.metrics import CLIENT_GONE, Metrics
from bbmr_server.observability.request_notes import notes_of

from .problems import internal_problem, problem

REQUEST_ID = "X-Request-ID"
CROWDED = "bbmr_crowded"
"""Key of a connection's ASGI state: tells whether it is one too many now."""

FAULT = "bbmr_fault"
"""Key of a request's ASGI state: the `RequestError` that says why what came is no HTTP; it may come with the body."""

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines; only their failures are worth a line in the log."""

_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(scope: Scope) -> str:
    """The method of a request, or `other`: clients may make up their own."""
    return scope["method"] if scope["method"] in _METHODS else "other"


class RouteNames:
    """Finds the template of the route of a request, such as `/containers/{digest}`: one of a fixed set."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [(template, compile_path(template)[0]) for template in templates]

    def __call__(self, scope: Scope) -> str:
        """The template, or `other` for an address that has no route. Best once the request was handled."""
        found = getattr(scope.get("route"), "path", None)
        if isinstance(found, str):
            return found
        path: str = scope["path"]
        return next((template for template, pattern in self._patterns if pattern.match(path)), "other")


class Watch:
    """Gives each request an id and finds its key; writes its line in the access log and its count in the metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics, keys: Sequence[KeyRing], route_of: RouteNames) -> None:
        self.app = app
        self.metrics = metrics
        self.keys = keys
        self.route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        notes = notes_of(scope)
        notes.key = next((name for ring in self.keys if (name := ring.name_of(headers))), None)
        began = time.perf_counter()
        status, received, sent = CLIENT_GONE, 0, 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            seconds = time.perf_counter() - began
            path: str = scope["path"]
            route = self.route_of(scope)
            method = method_of(scope)
            self.metrics.count_request(method, route, status, seconds, received, sent)
            if notes.problem is not None:
                self.metrics.count_problem(notes.problem)
            fields = {
                "request_id": request_id,
                "client": (scope.get("client") or ("-",))[0],
                "key": notes.key,
                "method": method,
                "path": quote(path[:200], safe="/-._~"),
                "route": route,
                "status": status,
                "problem": notes.problem,
                "ms": round(seconds * 1000, 1),
                "received": received,
                "sent": sent,
                **notes.fields,
                "agent": headers.get("user-agent", "")[:200] or None,
            }
            if status >= 400 or path not in PROBES:
                fields = {name: value for name, value in fields.items() if value is not None}
                logs.access.info("request", extra={"fields": fields})


class Linger:
    """Holds a refusing answer open for a moment while the rest of the body is thrown away.

    A connection that is closed with unread bytes is reset, and the client may never see the answer that it was
    sent before (RFC 9112, section 9.6). At most `seconds` and `most` bytes are spent on that.
    """

    def __init__(self, app: ASGIApp, seconds: float = 2.0, most: int = 64 << 20) -> None:
        self.app = app
        self.seconds = seconds
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        unread = True
        lingering = False

        async def noted_receive() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                unread = False
            return message

        async def lingering_send(message: Message) -> None:
            nonlocal lingering
            if message["type"] == "http.response.start" and unread and message["status"] >= 400:
                lingering = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if not lingering or message["type"] == "http.response.start" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            if "expect" not in Headers(scope=scope):  # who waits for 100 Continue has sent nothing
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.seconds):
                        dropped = 0
                        while unread and dropped < self.most:
                            dropped += len((await noted_receive()).get("body", b""))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, noted_receive, lingering_send)


class Crowd:
    """Answers what is wrong with the connection; see `connections`.

    That is 400 or 431 where what came is no HTTP, whatever the application was about to say, and 503 on a connection
    that came when too many were open. Probes pass the latter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        started = False

        async def checked_receive() -> Message:
            message = await receive()
            return {"type": "http.disconnect"} if FAULT in state else message

        async def checked_send(message: Message) -> None:
            nonlocal started
            if started or FAULT not in state:
                started = True
                await send(message)

        crowded = state.get(CROWDED)
        if FAULT not in state:
            if crowded is not None and crowded() and scope["path"] not in PROBES:
                refusal = NotReadyError("too many connections are open; try again later")
                await _end_with(refusal, scope, receive, send)
                return
            await self.app(scope, checked_receive, checked_send)
        if FAULT in state and not started:
            await _end_with(state[FAULT], scope, receive, send)


async def _end_with(refusal: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**refusal.headers, "Connection": "close"}
    answer = problem(Request(scope), refusal.slug, refusal.status, str(refusal), headers)
    await answer(scope, receive, send)


class Net:
    """Answers 500 where an error got through everything else, and logs it under the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noted_send)
        except Exception:
            if scope["type"] != "http":
                raise
            state: Mapping[str, object] = scope.get("state", {})
            logs.events.exception("unexpected error in request %s", state.get("request_id"))
            if started:
                raise  # the answer is cut off; the server closes the connection
            await internal_problem(Request(scope))(scope, receive, noted_send)
