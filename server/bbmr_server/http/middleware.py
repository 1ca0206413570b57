"""ASGI middleware, outermost first: `AccessLog`, `LingeringClose`, `ConnectionLimit`, `CatchAll`.

Settings add three more: `tracing.Trace`, Starlette's CORS middleware and `ratelimit.RateLimit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bbmr_server.errors import NotReadyError, RequestError
from bbmr_server.keys import KeyRing
from bbmr_server.observability import logs
from bbmr_server.observability.labels import PROBES, RouteNames, method_of
from bbmr_server.observability.metrics import CLIENT_GONE, Metrics
from bbmr_server.observability.request_notes import RequestNotes, notes_of

from .problems import internal_problem, problem

REQUEST_ID = "X-Request-ID"
OVER_LIMIT = "bbmr_over_limit"
"""Key of a connection's ASGI state: a function that says whether there are too many connections now."""

FAULT = "bbmr_fault"
"""Key of a request's ASGI state: the `RequestError` if the request is not HTTP; it may come with the body."""

WORKING = "bbmr_working"
"""Key of a request's ASGI state: whether a part of its answer was sent and the next one is still in work."""

_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class AccessLog:
    """Gives each request an id and finds its key; logs and counts the request when it is over."""

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
        client_id = headers.get(REQUEST_ID, "")
        request_id = client_id if _GOOD_ID.fullmatch(client_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        notes = notes_of(scope)
        notes.key = next((name for ring in self.keys if (name := ring.name_of(headers))), None)
        began = time.perf_counter()
        status, received, sent = CLIENT_GONE, 0, 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counting_receive, counting_send)
        finally:
            self._finish(scope, notes, status, time.perf_counter() - began, received, sent)

    def _finish(
        self, scope: Scope, notes: RequestNotes, status: int, seconds: float, received: int, sent: int
    ) -> None:
        path: str = scope["path"]
        route = self.route_of(scope)
        method = method_of(scope)
        self.metrics.count_request(method, route, status, seconds, received, sent)
        if notes.problem is not None:
            self.metrics.count_problem(notes.problem)
        if status < 400 and path in PROBES:
            return
        fields = {
            "request_id": scope["state"]["request_id"],
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
            "agent": Headers(scope=scope).get("user-agent", "")[:200] or None,
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        logs.access.info("request", extra={"fields": fields})


class LingeringClose:
    """Holds the answer of a refusal open for a moment and discards the rest of the body.

    TCP resets a connection that is closed with unread bytes, and the client may never see the answer that was sent
    before (RFC 9112, section 9.6). That takes at most `seconds` and `max_bytes`.
    """

    def __init__(self, app: ASGIApp, seconds: float = 2.0, max_bytes: int = 64 << 20) -> None:
        self.app = app
        self.seconds = seconds
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        unread = True
        lingering = False

        async def noting_receive() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                unread = False
            return message

        async def discard() -> None:
            discarded = 0
            while unread and discarded < self.max_bytes:
                discarded += len((await noting_receive()).get("body", b""))

        async def lingering_send(message: Message) -> None:
            nonlocal lingering
            if message["type"] == "http.response.start" and unread and message["status"] >= 400:
                lingering = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if not lingering or message["type"] == "http.response.start" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            if "expect" not in Headers(scope=scope):  # a client that waits for 100 Continue has sent no body
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.seconds):
                        await discard()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, noting_receive, lingering_send)


class ConnectionLimit:
    """Refuses requests by the state of their connection, which `protocol` sets.

    A request that is not HTTP gets 400 or 431, whatever the application was about to answer. A request on a connection
    that came when too many were open gets 503, unless it is a probe.
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

        over_limit = state.get(OVER_LIMIT)
        if FAULT not in state:
            if over_limit is not None and over_limit() and scope["path"] not in PROBES:
                refusal = NotReadyError("too many connections are open; try again later")
                await _refuse(refusal, scope, receive, send)
                return
            await self.app(scope, checked_receive, checked_send)
        if FAULT in state and not started:
            await _refuse(state[FAULT], scope, receive, send)


async def _refuse(refusal: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**refusal.headers, "Connection": "close"}
    answer = problem(Request(scope), refusal.slug, refusal.status, str(refusal), headers)
    await answer(scope, receive, send)


class CatchAll:
    """Answers 500 to an unexpected error, and logs it under the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except Exception:
            if scope["type"] != "http":
                raise
            state: Mapping[str, object] = scope.get("state", {})
            logs.events.exception("unexpected error in request %s", state.get("request_id"))
            if started:
                raise  # the server closes the connection, so that the client sees that the answer is cut off
            await internal_problem(Request(scope))(scope, receive, noting_send)
