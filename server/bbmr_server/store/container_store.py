"""The store: checked containers under their digests. In: bytes; out: the same bytes, or an error that says why not.

The digest is SHA-256 over the whole file, in hex: what `sha256sum photo.bbmr` prints, so anybody can tell an address
before the upload and check a download. The digest at the end of a container (BLAKE2b-128) finds damage; with 128 bits,
strangers could make two files that share it, and one would be answered for the other.

What was accepted stays until somebody deletes it: a full store refuses, it never evicts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from bbmr_server.observability import logs
from bbmr_shared.container.frame import FIRST_READ
from bbmr_shared.container.header import Header
from bbmr_shared.errors import BbmrError

from .backend import Backend, Entry, charge
from .errors import DamagedContainerError, InsufficientStorageError, NotFoundError, StoreUnavailableError
from .locks import Guard, Locks, patiently
from .metrics import StoreWatch

DIGEST_PATTERN = r"[0-9a-f]{64}"
RECOUNT_S = 600.0
"""How old the count of what is kept may be: other servers may write to the same bucket or directory."""

_NAME = re.compile(r"[0-9a-f]{2}/([0-9a-f]{64})\.bbmr")


def digest_of(data: bytes | memoryview) -> str:
    """The digest under which `data` is kept."""
    return hashlib.sha256(data).hexdigest()


class Store:
    """Containers by digest, in `backend`, of together at most `limit` bytes.

    Several servers may share a backend. Each counts what it wrote itself at once and what others wrote within
    `RECOUNT_S`, so together they may exceed the bound by what they write in that time.
    """

    def __init__(self, backend: Backend, limit: int, watch: StoreWatch) -> None:
        self.backend = backend
        self.limit = limit
        self.used: int | None = None
        self._watch = watch
        self._counted_at = 0.0
        self._since = 0
        self._pending = 0
        self._counting: asyncio.Task[None] | None = None
        self._locks = Locks()

    async def put(self, digest: str, data: bytes, guard: Guard = patiently) -> bool:
        """Keep `data`, which must be a checked container with this digest. Returns whether it was new.

        One that is there already is compared, and written again where it was damaged. `guard` may end the wait for
        others who write or delete the same container; what is begun after it, it does not see.

        Raises:
            InsufficientStorageError: no room; StoreUnavailableError; what `guard` raises. Nothing is kept in part then.
        """
        name = _name(digest)
        with self._watch.operation("put"):
            async with self._alone(digest, guard):
                before = await self.backend.size(name)
                if before == len(data) and await self.backend.sha256(name) == digest:
                    return False
                more = await self._take(len(data), before)
                try:
                    await self.backend.put(name, data)
                except BaseException:
                    self._give(more)
                    self._since -= more
                    self._counted_at = 0.0  # of one that came too late, it may be there after all
                    raise
                finally:
                    self._pending -= more
                if before is not None:
                    self._counted_at = 0.0  # for how much the damaged one counted is not known
        self._watch.received(len(data))
        return True

    async def get(self, digest: str) -> memoryview:
        """A whole container, as it was accepted.

        Raises:
            NotFoundError; DamagedContainerError: it has changed since; StoreUnavailableError.
        """
        with self._watch.operation("get"):
            data = await self.backend.get(_name(digest))
            if data is None:
                raise _missing()
            if await asyncio.to_thread(digest_of, data) != digest:
                raise self._damaged(digest, "its digest differs")
        self._watch.sent(len(data))
        return data

    async def range(self, digest: str, start: int, length: int) -> memoryview:
        """`length` bytes from `start` on; both inside the container. Not checked: that takes the whole file.

        Raises: as `get`; DamagedContainerError where it is shorter than it was.
        """
        with self._watch.operation("range"):
            data = await self.backend.range(_name(digest), start, length)
            if data is None:
                raise _missing()
            if len(data) != length:
                raise self._damaged(digest, "it is shorter than it was")
        self._watch.sent(len(data))
        return data

    async def size(self, digest: str) -> int:
        """Bytes of a container. Raises `NotFoundError`, `StoreUnavailableError`."""
        with self._watch.operation("size"):
            size = await self.backend.size(_name(digest))
            if size is None:
                raise _missing()
        return size

    async def header(
        self, digest: str, longest: int, read: Callable[[memoryview], Awaitable[Header]]
    ) -> Header:
        """The header of a container; mostly the first 64 KiB are read.

        Args:
            longest: bytes that a header may have.
            read: makes a header of the start of a container, as `Service.read_header`.

        Raises: as `get`; DamagedContainerError where it is no header any more; LimitExceededError,
            UnsupportedContainerError
        """
        with self._watch.operation("range"):
            for length in (FIRST_READ, longest + FIRST_READ):
                start = await self.backend.range(_name(digest), 0, length)
                if start is None:
                    raise _missing()
                try:
                    return await read(start)
                except BbmrError as error:
                    if error.slug in ("too-large", "unsupported-container"):
                        raise  # another server, with other limits or of another release, has accepted it
                    why = str(error)
                    if len(start) < length:
                        break
            raise self._damaged(digest, why)

    async def delete(self, digest: str, guard: Guard = patiently) -> None:
        """Remove a container. Raises `NotFoundError`, `StoreUnavailableError`; `guard` as of `put`."""
        name = _name(digest)
        with self._watch.operation("delete"):
            async with self._alone(digest, guard):
                size = await self.backend.size(name)
                if size is None:
                    raise _missing()
                await self.backend.delete(name)
                self._give(charge(size))

    def begin_count(self) -> asyncio.Task[None]:
        """Count what is kept in the background, unless that is under way."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._counting

    def close(self) -> None:
        """End the threads."""
        self.backend.close()

    def _alone(self, digest: str, guard: Guard) -> AbstractAsyncContextManager[None]:
        """While the block runs, nobody else in this process writes or deletes this container."""
        late = StoreUnavailableError(
            "the same container is being written or deleted by others; try again later"
        )
        return self._locks.alone(digest, self.backend.timeout, late, guard)

    # Counting

    async def _take(self, size: int, before: int | None) -> int:
        """Count `size` bytes in the place of `before`; gives back for how much."""
        if self.used is None:
            await self._counted()
        elif time.monotonic() - self._counted_at > RECOUNT_S:
            self.begin_count()
        assert self.used is not None
        more = charge(size) - (0 if before is None else charge(before))
        if self.used + more > self.limit:
            raise InsufficientStorageError(
                f"the store holds {self.used} of {self.limit} bytes, and {size} more do not fit"
            )
        self.used += more
        self._since += more
        self._pending += more
        return more

    def _give(self, less: int) -> None:
        if self.used is not None:
            self.used = max(0, self.used - less)

    async def _counted(self) -> None:
        """Wait for the first count; with millions of containers it takes minutes. Raises `StoreUnavailableError`."""
        try:
            async with asyncio.timeout(self.backend.timeout):
                await asyncio.shield(self.begin_count())
        except TimeoutError:
            raise StoreUnavailableError(
                "what is kept is still being counted; try again later", retry_after=30
            ) from None

    async def _count(self) -> None:
        # What is written while the list is made may or may not be in it: it is counted twice rather than never.
        self._since = self._pending
        found = 0

        def add(entry: Entry) -> None:
            nonlocal found
            if _NAME.fullmatch(entry.name):
                found += entry.charge

        await self.backend.fold(add)
        self.used = found + self._since
        self._counted_at = time.monotonic()

    def _damaged(self, digest: str, why: str) -> DamagedContainerError:
        logs.events.error("store: the container %s in %s is damaged: %s", digest, self.backend.words, why)
        return DamagedContainerError("the stored container was damaged since it was accepted; send it again")


def _name(digest: str) -> str:
    if not re.fullmatch(DIGEST_PATTERN, digest):
        raise ValueError("no digest")  # addresses are checked before; nothing else may become a path
    return f"{digest[:2]}/{digest}.bbmr"


def _missing() -> NotFoundError:
    return NotFoundError("there is no container with this digest here")
