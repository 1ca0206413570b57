"""Bodies: chunks of a request in, one `bytes` within the limits out; and answers that count until they are taken.

Nothing here trusts Content-Length: it may refuse a body early, the count of what really came decides.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bbmr_server.errors import QueueFullError, UploadTimeoutError
from bbmr_shared.errors import LimitExceededError


class BodyMemory:
    """The bytes that all bodies in memory hold together, and their limit. For one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @contextmanager
    def share(self) -> Iterator[BodyShare]:
        """One request's part; given back when the block is left."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            self.used -= share.size


class BodyShare:
    """What one request has taken of a `BodyMemory`."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size = 0

    def take(self, size: int) -> None:
        """Take `size` bytes more. Raises `QueueFullError` where others hold too much."""
        if self._memory.used + size > self._memory.limit:
            raise QueueFullError("too many bodies are in memory at once; try again later", retry_after=2)
        self.hold(size)

    def hold(self, size: int) -> None:
        """Count `size` bytes that are there already, however much others hold."""
        self._memory.used += size
        self.size += size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """`hold` while the block runs."""
        self.hold(size)
        try:
            yield
        finally:
            self._memory.used -= size
            self.size -= size


class CountedResponse(Response):
    """An answer that counts in a `BodyMemory` until the client has taken it.

    It is sent piece by piece: the server waits for room in the socket before each, so little of it lies uncounted in
    the connection's own buffer.
    """

    PIECE = 64 << 10

    def __init__(
        self, content: bytes | memoryview, memory: BodyMemory, *, media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self.memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = memoryview(self.body)
        with self.memory.share() as share:
            share.hold(len(body))
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            for at in range(0, len(body), self.PIECE):
                piece = bytes(body[at : at + self.PIECE])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def read_body(
    stream: AsyncIterator[bytes], declared: str | None, *, limit: int, timeout: float, share: BodyShare
) -> bytes:
    """The whole body, which lies in memory once, also while it comes; no chunk holds the event loop up for long.

    Args:
        stream: the chunks as they arrive.
        declared: the Content-Length header, if there is one.
        limit: most bytes allowed.
        timeout: seconds from now until the last byte must be here.
        share: where the bytes are counted against those of other requests.

    Raises:
        LimitExceededError: declared or counted, there are too many bytes; the rest is not read.
        UploadTimeoutError, QueueFullError
    """
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise LimitExceededError(f"the body is declared as {declared} bytes; at most {limit} are allowed")
    # A list would be joined at the end (256 MiB: 250 ms on the loop, and twice the memory). This moves its pages as it
    # grows (8 ms at most), and hands out what it has as it is. Measured on x86-64 with glibc.
    body = io.BytesIO()
    size = 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in stream:
                size += len(chunk)
                if size > limit:
                    raise LimitExceededError(f"the body is longer than the {limit} bytes that are allowed")
                share.take(len(chunk))
                body.write(chunk)
    except TimeoutError:
        raise UploadTimeoutError(
            f"the body did not arrive within {timeout:g} s ({size} bytes came); send it faster or smaller"
        ) from None
    return body.getvalue()
