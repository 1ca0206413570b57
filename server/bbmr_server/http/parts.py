"""Answers in parts, which are sent while the work on the next ones goes on.

Each part is one line of JSON, an object whose field `part` says what it is. If it has the field `bytes`, so many bytes
follow the line. A refusal before the first part is an ordinary problem document. A later one is the last part: `part`
is "problem", `status` and `retry_after` (seconds, or null) are as in HTTP, and the rest is the document.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bbmr_shared.errors import BbmrError

from .body import BodyMemory, BodyShare, send_in_pieces
from .middleware import WORKING
from .problems import problem_of

MEDIA_TYPE = "application/octet-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",  # nginx would keep the parts back until there are enough of them
}


class Emit(Protocol):
    """Sends a part soon; may be called in the event loop only."""

    def __call__(self, part: str, data: bytes | None = None, **fields: object) -> None: ...


class PartsResponse(Response):
    """The answer to `request`. Its parts count in a `BodyMemory` until the client has received them.

    Args:
        work: emits the parts. It is cancelled if the client's connection fails; noticing that a client has left is up
            to the work itself, which then raises `ClientDisconnect`.
    """

    def __init__(
        self, request: Request, memory: BodyMemory, work: Callable[[Emit], Coroutine[Any, Any, None]]
    ) -> None:
        self.status_code, self.media_type, self.background = 200, MEDIA_TYPE, None
        self.init_headers(HEADERS)
        self._request, self._memory, self._work = request, memory, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ready: asyncio.Queue[tuple[bytes, bytes] | None] = asyncio.Queue()
        with self._memory.share() as unsent:

            def emit(part: str, data: bytes | None = None, **fields: object) -> None:
                length = {} if data is None else {"bytes": len(data)}
                unsent.hold(len(data or b""))
                ready.put_nowait((_line({"part": part, **fields, **length}), data or b""))

            work = asyncio.ensure_future(self._work(emit))
            work.add_done_callback(lambda _: ready.put_nowait(None))
            try:
                await self._send(scope, send, work, ready, unsent)
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _send(
        self,
        scope: Scope,
        send: Send,
        work: asyncio.Future[None],
        ready: asyncio.Queue[tuple[bytes, bytes] | None],
        unsent: BodyShare,
    ) -> None:
        state = scope.setdefault("state", {})
        started = False
        while (part := await ready.get()) is not None:
            state[WORKING] = False
            if not started:
                head = {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
                await send(head)
                started = True
            for piece in part:
                await send_in_pieces(send, piece)
            unsent.release(len(part[1]))
            state[WORKING] = ready.empty()
        state[WORKING] = False
        try:
            await work
        except (BbmrError, ClientDisconnect) as error:
            if not started:
                raise
            if isinstance(error, BbmrError):
                await send_in_pieces(send, self._problem(error))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _problem(self, error: BbmrError) -> bytes:
        answer = problem_of(self._request, error)
        wait = answer.headers.get("retry-after")
        document = json.loads(bytes(answer.body))
        return _line({"part": "problem", **document, "retry_after": None if wait is None else int(wait)})


def _line(head: dict[str, object]) -> bytes:
    return json.dumps(head).encode() + b"\n"
