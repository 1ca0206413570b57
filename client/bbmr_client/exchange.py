"""One request to one server over httpx: bytes out, bytes in, and what each way to fail means.

In: a `Server`, a `Request`, what is sent, and a `Sink` for the answer. Out: a `Reply`; the errors are `ServiceError`s.
This module and `connector` are the only ones that know httpx.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx

from bbmr_client.answer import Collector
from bbmr_client.download import Sink
from bbmr_client.retries import BUSY_STATUS, parse_retry_after
from bbmr_client.service import Request, Server
from bbmr_client.text import printable
from bbmr_client.timeouts import Timeouts
from bbmr_client.upload import Upload
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    ServiceError,
    UsageError,
)

Progress = Callable[[Literal["up", "down"], int, int | None], None]
"""Told how far an exchange is: the direction, bytes so far, and bytes in all where they are known. The bytes never
become fewer: what a further try repeats is not told again."""

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ssl.SSLError)
"""What an exchange can end with. UnicodeError: a host name that no name server could be asked for. SSLError: what
TLS 1.3 tells only after the connection stands; httpx lets it through."""

_HUNG_UP = re.compile("closed connection|disconnected")
"""How httpx's protocol errors tell a connection that ended too early from words that are no HTTP."""


class PassingError(Exception):
    """A failure that may be over soon, or that another server may not have: nobody there, or no time.

    `error` is what to tell when nothing helped; `retry_after` the seconds that the server asked for.
    """

    def __init__(self, error: ServiceError, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after = error, retry_after


@dataclass(frozen=True)
class Reply:
    """An answer of the right type, whose body is in the sink. `is_framed`: the server said how long it is, or where it
    ends; otherwise it may have been cut off."""

    server: Server
    mime: str
    headers: Mapping[str, str]

    @property
    def is_framed(self) -> bool:
        return bool({"content-length", "transfer-encoding"} & set(self.headers))


@dataclass
class Course:
    """How far a request is, over all its tries."""

    timeouts: Timeouts
    progress: Progress | None = None
    server: Server | None = None
    answering: bool = False
    _told: dict[str, int] = field(default_factory=dict)

    def tell(self, direction: Literal["up", "down"], done: int, total: int | None) -> None:
        if self.progress is not None and done > self._told.get(direction, -1):
            self._told[direction] = done
            self.progress(direction, done, total)

    def too_late(self) -> ServerTimeoutError:
        """The whole took longer than it may."""
        failed = "did not finish its answer" if self.answering else "did not answer"
        shown = self.server.shown if self.server else "the server"
        return ServerTimeoutError(
            f"{shown} {failed} within {self.timeouts.total:g} s: wait longer with --timeout"
        )


async def exchange(
    http: httpx.AsyncClient,
    server: Server,
    request: Request,
    upload: Upload | None,
    sink: Sink,
    course: Course,
) -> Reply:
    """Send `request` with `upload` to `server`, and fill `sink` from its start with the answer.

    Raises:
        PassingError: it may be tried again, there or elsewhere.
        ServiceError: it is of no use to try again. UsageError: the address cannot be one.
    """
    course.server, course.answering = server, False
    sink.restart()
    headers = server.headers_for(request)
    if upload is not None:
        headers["Content-Length"] = str(upload.total)
    try:
        async with http.stream(
            request.method,
            server.url + request.path,
            headers=headers,
            params=dict(request.params),
            content=None if upload is None else _sent(upload, course),
        ) as response:
            course.answering = True
            return await _take(response, server, request, sink, course)
    except _FAILURES as error:
        raise _meaning(error, server, course.timeouts) from error


async def _sent(upload: Upload, course: Course) -> AsyncIterator[bytes]:
    done = 0
    course.tell("up", done, upload.total)
    async for piece in upload.pieces():
        yield piece
        done += len(piece)
        course.tell("up", done, upload.total)


async def _take(
    response: httpx.Response, server: Server, request: Request, sink: Sink, course: Course
) -> Reply:
    answer = Collector(server.shown, response.status_code, response.headers, request.accept, request.most)
    try:
        answer.check_headers()
        async for piece in response.aiter_bytes():
            answer.take(piece)
            if answer.good:
                await sink.write(piece)
                course.tell("down", answer.taken, answer.announced)
        answer.finish()
    except (BadAnswerError, ServerRefusedError) as error:
        if answer.status in BUSY_STATUS:
            raise PassingError(error, parse_retry_after(answer.headers.get("retry-after", ""))) from error
        raise
    await sink.flush()
    return Reply(server, answer.mime, answer.headers)


def _meaning(error: Exception, server: Server, times: Timeouts) -> Exception:
    """What a failure on the way means: a `PassingError`, or a `BbmrError` that no further try would change."""
    shown, why = server.shown, _reason(error)
    match error:
        case httpx.ConnectTimeout():
            return PassingError(
                ServerTimeoutError(f"{shown} did not accept a connection within {times.connect:g} s")
            )
        case httpx.ReadTimeout():
            return ServerTimeoutError(
                f"{shown} did not answer within {times.read:g} s: wait longer with --timeout"
            )
        case httpx.PoolTimeout():
            return ServerTimeoutError(
                f"{shown} was not asked: more requests at once than connections, for {times.pool:g} s"
            )
        case httpx.TimeoutException():
            return ServerTimeoutError(
                f"{shown} did not take the container in time: wait longer with --timeout"
            )
        case _ if (insecure := _refused_by_tls(error)) is not None:
            return ServerUnreachableError(insecure.format(shown=shown, why=why))
        case httpx.ConnectError() | httpx.ProxyError():
            return PassingError(
                ServerUnreachableError(
                    f"no server at {shown} ({why}): start one with bbmr-server, or name another with --server"
                )
            )
        case httpx.NetworkError() | ssl.SSLError():
            return PassingError(ServerUnreachableError(f"the connection to {shown} broke ({why}): try again"))
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return UsageError(f"{shown} is not an address of a server: {why}")
        case _:
            strange = BadAnswerError(f"{shown} did not answer as HTTP asks ({why})")
            return PassingError(strange) if _HUNG_UP.search(str(error)) else strange


def _refused_by_tls(error: Exception) -> str | None:
    """The message where it was TLS that failed, and not the connection below it; it fails again the next time."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "the certificate of {shown} is not trusted ({why}): name who signed it with --ca-file"
        if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            if "CERTIFICATE" in (one.reason or ""):
                return "{shown} does not accept who this client is ({why}): see --client-cert"
            return "no secured connection to {shown} ({why}): does it speak https?"
    return None


def _reason(error: Exception) -> str:
    """The shortest true reason: of a failed connection the system's word, which httpx hides behind its own."""
    text = printable(str(error)) or type(error).__name__
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return printable(str(one.verify_message))
        if isinstance(one, ssl.SSLError) and one.reason:
            return printable(one.reason.lower().replace("_", " "))
        if isinstance(one, socket.gaierror):
            return printable(one.strerror or text)
        # Not its strerror, into which asyncio writes words of its own.
        if isinstance(one, OSError) and one.errno is not None and one.errno in errno.errorcode:
            text = os.strerror(one.errno).lower()
    return text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and, one after the other, what it came from."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.exceptions[0] if isinstance(now, BaseExceptionGroup) else now.__cause__ or now.__context__
