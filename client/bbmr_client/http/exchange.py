"""One request to one server: a container out, an answer in, judged while it comes.

In: a `Server`, a `Request`, what is sent, and a `Sink` for the answer. Out: a `Reply`, or a `ServiceError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bbmr_client.http.download import Sink
from bbmr_client.http.request import Request, Server
from bbmr_client.http.response import Collector
from bbmr_client.http.retries import BUSY_STATUS, PassingError, parse_retry_after
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.transport import Connectors, Incoming
from bbmr_client.http.upload import Upload
from bbmr_shared.errors import BadAnswerError, ServerRefusedError, ServerTimeoutError

Progress = Callable[[Literal["up", "down"], int, int | None], None]
"""Told how far an exchange is: the direction, bytes so far, and bytes in all where they are known. The bytes never
become fewer: what a further try repeats is not told again."""


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
    connectors: Connectors,
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
    content = None if upload is None else _sent(upload, course)
    async with connectors.send(server, request, headers, content) as answer:
        course.answering = True
        return await _take(answer, server, request, sink, course)


async def _sent(upload: Upload, course: Course) -> AsyncIterator[bytes]:
    done = 0
    course.tell("up", done, upload.total)
    async for piece in upload.pieces():
        yield piece
        done += len(piece)
        course.tell("up", done, upload.total)


async def _take(incoming: Incoming, server: Server, request: Request, sink: Sink, course: Course) -> Reply:
    answer = Collector(server.shown, incoming.status, incoming.headers, request.accept, request.most)
    try:
        answer.check_headers()
        async for piece in incoming.pieces:
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
