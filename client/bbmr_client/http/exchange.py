"""One request to one server: sends the body, receives the response, and checks it while it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bbmr_client.http.download import Sink
from bbmr_client.http.request import Request, Server
from bbmr_client.http.response import ResponseChecker
from bbmr_client.http.retries import RETRYABLE_STATUS, RetryableError, parse_retry_after
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.transport import ConnectionPool, StreamedResponse
from bbmr_client.http.upload import RequestBody
from bbmr_shared.errors import BadAnswerError, ServerRefusedError, ServerTimeoutError

Progress = Callable[[Literal["up", "down"], int, int | None], None]
"""Called with the direction, the bytes so far, and all bytes if they are known. The bytes never become fewer: what a
retry sends again is not reported again."""


@dataclass(frozen=True)
class ResponseHead:
    """A response of the right type whose body is in a sink."""

    server: Server
    mime: str
    headers: Mapping[str, str]

    @property
    def is_framed(self) -> bool:
        """Whether the headers say where the body ends. Otherwise it may have been cut off."""
        return bool({"content-length", "transfer-encoding"} & set(self.headers))


@dataclass
class ExchangeState:
    """How far a request is, over all its tries."""

    timeouts: Timeouts
    progress: Progress | None = None
    server: Server | None = None
    is_receiving: bool = False
    _reported: dict[str, int] = field(default_factory=dict)

    def report(self, direction: Literal["up", "down"], done: int, total: int | None) -> None:
        if self.progress is not None and done > self._reported.get(direction, -1):
            self._reported[direction] = done
            self.progress(direction, done, total)

    def total_timeout(self) -> ServerTimeoutError:
        """The error for an exchange that takes longer than `timeouts.total`."""
        failed = "did not finish its answer" if self.is_receiving else "did not answer"
        server = self.server.url if self.server else "the server"
        return ServerTimeoutError(
            f"{server} {failed} within {self.timeouts.total:g} s: wait longer with --timeout"
        )


async def exchange(
    pool: ConnectionPool,
    server: Server,
    request: Request,
    body: RequestBody | None,
    sink: Sink,
    state: ExchangeState,
) -> ResponseHead:
    """Send `request` with `body` to `server`, and fill `sink` from its start with the body of the response.

    Raises:
        RetryableError: another try may succeed, with this or another server.
        ServiceError: a retry would not help. UsageError: the address cannot be one.
    """
    state.server, state.is_receiving = server, False
    sink.restart()
    headers = server.headers_for(request)
    if body is not None:
        headers["Content-Length"] = str(body.total)
    content = None if body is None else _reported_pieces(body, state)
    async with pool.send(server, request, headers, content) as response:
        state.is_receiving = True
        return await _receive(response, server, request, sink, state)


async def _reported_pieces(body: RequestBody, state: ExchangeState) -> AsyncIterator[bytes]:
    done = 0
    state.report("up", done, body.total)
    async for piece in body.pieces():
        yield piece
        done += len(piece)
        state.report("up", done, body.total)


async def _receive(
    response: StreamedResponse, server: Server, request: Request, sink: Sink, state: ExchangeState
) -> ResponseHead:
    checker = ResponseChecker(
        server.url, response.status, response.headers, request.accept, request.max_bytes
    )
    try:
        checker.check_headers()
        async for piece in response.pieces:
            checker.feed(piece)
            if checker.ok:
                await sink.write(piece)
                state.report("down", checker.received, checker.content_length)
        checker.finish()
    except (BadAnswerError, ServerRefusedError) as error:
        if checker.status in RETRYABLE_STATUS:
            raise RetryableError(error, parse_retry_after(checker.headers.get("retry-after", ""))) from error
        raise
    await sink.flush()
    return ResponseHead(server, checker.mime, checker.headers)
