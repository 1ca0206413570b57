"""Request bodies: chunks in, one `bytes` within the limits out.

Nothing here trusts Content-Length: it may refuse a body early, the count of what really came decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from bbmr_shared.errors import LimitExceededError

from .errors import QueueFullError, UploadTimeoutError


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
            raise QueueFullError("too many bodies are being uploaded at once; try again later", retry_after=2)
        self._memory.used += size
        self.size += size


async def read_body(
    stream: AsyncIterator[bytes], declared: str | None, *, limit: int, timeout: float, share: BodyShare
) -> bytes:
    """The whole body.

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
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in stream:
                size += len(chunk)
                if size > limit:
                    raise LimitExceededError(f"the body is longer than the {limit} bytes that are allowed")
                share.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise UploadTimeoutError(
            f"the body did not arrive within {timeout:g} s ({size} bytes came); send it faster or smaller"
        ) from None
    return b"".join(chunks)
