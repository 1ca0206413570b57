"""Stores checked containers under their digests, and returns the same bytes or an error that says why not.

The digest is SHA-256 over the whole file, in hex, as `sha256sum photo.bbmr` prints it: a client can compute an address
before the upload and check a download. The BLAKE2b-128 digest at the end of a container only finds damage. With 128
bits an attacker could make two files that share it.

Stored containers stay until they are deleted: a full store refuses new ones and never evicts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from bbmr_server.observability import logs
from bbmr_shared.container.frame import FIRST_READ
from bbmr_shared.container.header import Header
from bbmr_shared.errors import BbmrError, LimitExceededError, UnsupportedContainerError

from .backend import Backend
from .errors import DamagedContainerError, NotFoundError, StoreUnavailableError
from .locks import KeyedLocks, WaitGuard, unguarded
from .metrics import StoreMetrics
from .usage import StoreUsage

DIGEST_PATTERN = r"[0-9a-f]{64}"
_NAME = re.compile(r"[0-9a-f]{2}/([0-9a-f]{64})\.bbmr")


def digest_of(data: bytes | memoryview) -> str:
    """Returns the digest under which `data` is stored."""
    return hashlib.sha256(data).hexdigest()


class ContainerStore:
    """Containers by digest in `backend`, together at most `limit` bytes (see `StoreUsage`).

    All methods raise StoreUnavailableError if the backend fails or times out.
    """

    def __init__(self, backend: Backend, limit: int, metrics: StoreMetrics) -> None:
        self.backend = backend
        self.usage = StoreUsage(backend, limit, _NAME)
        self._metrics = metrics
        self._locks = KeyedLocks()

    async def put(self, digest: str, data: bytes, guard: WaitGuard = unguarded) -> bool:
        """Stores `data`, a checked container with this digest. Returns whether it is new.

        A container that is already there is compared, and written again if it is damaged. `guard` may end the wait for
        others that write or delete the same container. It does not see the write itself.

        Raises:
            InsufficientStorageError if it does not fit; whatever `guard` raises. Nothing is stored in part.
        """
        name = _name(digest)
        with self._metrics.operation("put"):
            async with self._lock(digest, guard):
                before = await self.backend.size(name)
                if before == len(data) and await self.backend.sha256(name) == digest:
                    return False
                async with self.usage.adding(len(data), before):
                    await self.backend.put(name, data)
        self._metrics.received(len(data))
        return True

    async def get(self, digest: str) -> memoryview:
        """Returns a whole container.

        Raises:
            NotFoundError if there is none, DamagedContainerError if its bytes have changed.
        """
        with self._metrics.operation("get"):
            data = await self.backend.get(_name(digest))
            if data is None:
                raise _missing()
            if await asyncio.to_thread(digest_of, data) != digest:
                raise self._damaged(digest, "its digest differs")
        self._metrics.sent(len(data))
        return data

    async def range(self, digest: str, start: int, length: int) -> memoryview:
        """Returns `length` bytes from `start` on; both must lie inside the container.

        The digest is not checked: that would need the whole file.

        Raises:
            NotFoundError if there is no such container, DamagedContainerError if it has become shorter.
        """
        with self._metrics.operation("range"):
            data = await self.backend.range(_name(digest), start, length)
            if data is None:
                raise _missing()
            if len(data) != length:
                raise self._damaged(digest, "it is shorter than it was")
        self._metrics.sent(len(data))
        return data

    async def size(self, digest: str) -> int:
        """Returns the size of a container in bytes. Raises NotFoundError if there is none."""
        with self._metrics.operation("size"):
            size = await self.backend.size(_name(digest))
            if size is None:
                raise _missing()
        return size

    async def header(
        self, digest: str, longest: int, read: Callable[[memoryview], Awaitable[Header]]
    ) -> Header:
        """Returns the header of a container. Mostly only its first 64 KiB are read.

        Args:
            longest: how many bytes a header may have.
            read: parses the start of a container, as `AppState.read_header` does.

        Raises:
            NotFoundError if there is no such container, DamagedContainerError if the header does not parse.
            LimitExceededError, UnsupportedContainerError: a server with other limits or of another release stored it.
        """
        with self._metrics.operation("range"):
            for length in (FIRST_READ, longest + FIRST_READ):
                start = await self.backend.range(_name(digest), 0, length)
                if start is None:
                    raise _missing()
                try:
                    return await read(start)
                except (LimitExceededError, UnsupportedContainerError):
                    raise
                except BbmrError as error:
                    why = str(error)
                    if len(start) < length:
                        break
            raise self._damaged(digest, why)

    async def delete(self, digest: str, guard: WaitGuard = unguarded) -> None:
        """Deletes a container. Raises NotFoundError if there is none; `guard` as in `put`."""
        name = _name(digest)
        with self._metrics.operation("delete"):
            async with self._lock(digest, guard):
                size = await self.backend.size(name)
                if size is None:
                    raise _missing()
                await self.backend.delete(name)
                self.usage.removed(size)

    def close(self) -> None:
        """Ends the threads of the backend."""
        self.backend.close()

    def _lock(self, digest: str, guard: WaitGuard) -> AbstractAsyncContextManager[None]:
        """Keeps others in this process from writing or deleting the same container while the block runs."""
        late = StoreUnavailableError(
            "the same container is being written or deleted by others; try again later"
        )
        return self._locks.hold(digest, self.backend.timeout, late, guard)

    def _damaged(self, digest: str, why: str) -> DamagedContainerError:
        logs.events.error("store: the container %s in %s is damaged: %s", digest, self.backend.label, why)
        return DamagedContainerError("the stored container was damaged since it was accepted; send it again")


def _name(digest: str) -> str:
    if not re.fullmatch(DIGEST_PATTERN, digest):
        raise ValueError("not a digest")  # the routes check this too; nothing else may become a path
    return f"{digest[:2]}/{digest}.bbmr"


def _missing() -> NotFoundError:
    return NotFoundError("there is no container with this digest here")
