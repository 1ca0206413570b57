"""How many bytes a store holds, and whether more fit.

Several servers may share a backend. Each counts its own writes at once and those of others within `RECOUNT_S`, so
together they may exceed the limit by what they write in that time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .backend import Backend, Entry, disk_size
from .errors import InsufficientStorageError, StoreUnavailableError

RECOUNT_S = 600.0
"""Age in seconds from which a count is made again: other servers may write to the same bucket or directory."""


class StoreUsage:
    """Counts the objects of `backend` whose names match `names`, up to `limit` bytes.

    `used` is the number of bytes, or None before the first count.
    """

    def __init__(self, backend: Backend, limit: int, names: re.Pattern[str]) -> None:
        self.limit = limit
        self.used: int | None = None
        self._backend = backend
        self._names = names
        self._counted_at = 0.0
        self._since_count = 0
        self._pending = 0
        self._counting: asyncio.Task[None] | None = None

    def begin_count(self) -> asyncio.Task[None]:
        """Starts a count in the background, unless one is running. Returns its task."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._counting

    @asynccontextmanager
    async def adding(self, size: int, before: int | None) -> AsyncIterator[None]:
        """Reserves `size` bytes while the block writes them, in place of `before` bytes (None: a new object).

        Raises:
            InsufficientStorageError if they do not fit, StoreUnavailableError if the first count takes too long.
        """
        more = await self._reserve(size, before)
        try:
            yield
        except BaseException:
            self._release(more)
            self._since_count -= more
            self._counted_at = 0.0  # a write that timed out may still reach the backend
            raise
        finally:
            self._pending -= more
        if before is not None:
            self._counted_at = 0.0  # it is not known for how much the damaged object was counted

    def removed(self, size: int) -> None:
        """Counts an object of `size` bytes as deleted."""
        self._release(disk_size(size))

    async def _reserve(self, size: int, before: int | None) -> int:
        if self.used is None:
            await self._first_count()
        elif time.monotonic() - self._counted_at > RECOUNT_S:
            self.begin_count()
        assert self.used is not None
        more = disk_size(size) - (0 if before is None else disk_size(before))
        if self.used + more > self.limit:
            raise InsufficientStorageError(
                f"the store holds {self.used} of {self.limit} bytes, and {size} more do not fit"
            )
        self.used += more
        self._since_count += more
        self._pending += more
        return more

    def _release(self, less: int) -> None:
        if self.used is not None:
            self.used = max(0, self.used - less)

    async def _first_count(self) -> None:
        """Waits for the first count. With millions of containers it takes minutes, so it may time out."""
        try:
            async with asyncio.timeout(self._backend.timeout):
                await asyncio.shield(self.begin_count())
        except TimeoutError:
            raise StoreUnavailableError(
                "the stored containers are still being counted; try again later", retry_after=30
            ) from None

    async def _count(self) -> None:
        # The list may or may not contain what is written meanwhile. Those writes are counted twice rather than never.
        self._since_count = self._pending
        total = 0

        def add(entry: Entry) -> None:
            nonlocal total
            if self._names.fullmatch(entry.name):
                total += entry.disk_size

        await self._backend.for_each(add)
        self.used = total + self._since_count
        self._counted_at = time.monotonic()
