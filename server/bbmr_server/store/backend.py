"""Objects by name in a directory or an S3 bucket, behind one small interface.

Both are object stores of obstore (the Rust crate object_store, which crates.io's registry and many databases use): one
package without dependencies, atomic writes in both places, byte ranges, bounded retries. s3fs and aioboto3 bring
botocore, aiohttp and a dozen more for S3 alone. Two of its weaknesses are worked around here:

- Its local writes are atomic (to a temporary file that is renamed) but not flushed. `put` syncs them, so that what is
  answered with 201 is on the disk.
- Its asyncio functions sometimes end a Python before 3.14 with SIGABRT when one was used just before the exit
  (obstore 0.12: 3 of 5 runs; the blocking functions: 0 of 40). So the blocking functions run in threads of our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bbmr_server.observability import logs
from bbmr_shared.limits import MIB

from .errors import InsufficientStorageError, StoreUnavailableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

THREADS = 8
"""Operations on one backend at a time. Others wait, and the wait counts against their timeout."""
LEFTOVER_S = 3600.0
"""Age in seconds from which an unfinished file is taken as left by a server that was killed."""
DISK_BLOCK = 4096
"""Sizes are counted in whole blocks of so many bytes, as on most disks, so that many tiny objects are bounded too."""
FULL = re.compile(r"os error (28|122)\b|StorageFull|QuotaExceeded|No space left")
"""Matches what a full disk (ENOSPC), a quota (EDQUOT) and S3-compatible services report."""

GENERIC = re.compile(r"^(Generic \w+ error: )*(Unable to [a-z ]+(: | (?=/)))?")
"""The beginning of most of obstore's messages; ours already says what was tried."""
OUTSIDE = re.compile(r"Requested range was invalid|416 Range Not Satisfiable|InvalidRange")
"""Matches what directories and services report for a range that begins after the end."""


@dataclass(frozen=True)
class Entry:
    """One object: its name, size in bytes, and when it was written, in seconds since 1970."""

    name: str
    size: int
    modified: float

    @property
    def disk_size(self) -> int:
        """Its size in whole disk blocks."""
        return disk_size(self.size)


class Backend:
    """Objects by name. Every method raises StoreUnavailableError if the place fails or is too slow.

    Args:
        objects: the object store.
        label: what messages call the place.
        timeout: seconds that an operation may take, including the wait for a thread.
        root: the directory, if it is one.
        cache: whether the objects can be made again and nobody else writes here. Then `put` does not sync.
    """

    def __init__(
        self,
        objects: ObjectStore,
        label: str,
        timeout: float,
        root: Path | None = None,
        cache: bool = False,
    ) -> None:
        self.label = label
        self.kind = "picture cache" if cache else "store"
        self._objects = objects
        self.timeout = timeout
        self._root = root
        self._cache = cache
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bbmr-store")
        self._closed = threading.Event()

    async def put(self, name: str, data: bytes) -> None:
        """Writes an object as a whole or not at all, and replaces one of the same name.

        A write that timed out or was cancelled may still be done later. In a cache it is then deleted, because nothing
        would count it.

        Raises:
            InsufficientStorageError if there is no room.
        """
        abandoned = threading.Event()

        def write() -> None:
            self._put(name, data)
            if self._cache and abandoned.is_set():
                self._delete(name)

        try:
            await self._call("write", write, timeout=self.timeout)
        except BaseException:
            abandoned.set()
            raise

    async def get(self, name: str, timeout: float = math.inf) -> memoryview | None:
        """Returns a whole object, or None if there is none. `timeout` can only shorten the backend's own."""
        return await self._call("read", self._get, name, timeout=min(timeout, self.timeout))

    async def range(self, name: str, start: int, length: int) -> memoryview | None:
        """Returns up to `length` bytes from `start` on, or None if there is no such object."""
        return await self._call("read", self._range, name, start, length, timeout=self.timeout)

    async def size(self, name: str) -> int | None:
        """Returns the size of an object in bytes, or None if there is none."""
        return await self._call("look up", self._size, name, timeout=self.timeout)

    async def sha256(self, name: str) -> str | None:
        """Returns the SHA-256 of an object in hex, read in pieces, or None if there is none."""
        return await self._call("read", self._sha256, name, timeout=self.timeout)

    async def delete(self, name: str, timeout: float = math.inf) -> None:
        """Deletes an object, if there is one. `timeout` as in `get`."""
        await self._call("delete", self._delete, name, timeout=min(timeout, self.timeout))

    async def for_each(self, take: Callable[[Entry], object]) -> None:
        """Calls `take` in a thread with every object, in no particular order.

        There may be millions of objects, so only the single requests behind this have a timeout.
        """
        await self._call("list", self._for_each, take, timeout=None)

    def close(self) -> None:
        """Ends the threads as soon as they are idle. A running `for_each` stops early."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(
        self, verb: str, function: Callable[..., T], *arguments: object, timeout: float | None
    ) -> T:
        from obstore.exceptions import BaseError

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                return await loop.run_in_executor(self._threads, function, *arguments)
        except TimeoutError:
            logs.events.error(
                "%s: cannot %s in %s: not done after %g s", self.kind, verb, self.label, timeout
            )
            raise StoreUnavailableError("the store did not answer in time; try again later") from None
        except (BaseError, OSError) as error:
            text = str(error)
            # The first line names the object and the cause. The rest may be a whole response of the service.
            line = GENERIC.sub("", text.partition("\n")[0])[:500]
            logs.events.error("%s: cannot %s in %s: %s", self.kind, verb, self.label, line)
            if FULL.search(text):
                raise InsufficientStorageError("the disk of the store is full; nothing was stored") from None
            raise StoreUnavailableError("the store cannot be used at the moment; try again later") from None

    # In the threads

    def _put(self, name: str, data: bytes) -> None:
        import obstore

        obstore.put(self._objects, name, data, use_multipart=False)
        if self._root is not None and not self._cache:
            for path in (self._root / name, (self._root / name).parent, self._root):
                _sync(path)

    def _get(self, name: str) -> memoryview | None:
        import obstore

        try:
            return memoryview(obstore.get(self._objects, name).bytes())
        except FileNotFoundError:
            return None

    def _range(self, name: str, start: int, length: int) -> memoryview | None:
        import obstore

        try:
            return memoryview(obstore.get_range(self._objects, name, start=start, length=length))
        except FileNotFoundError:
            return None
        except obstore.exceptions.GenericError as error:
            if OUTSIDE.search(str(error)):
                return memoryview(b"")
            raise

    def _size(self, name: str) -> int | None:
        import obstore

        try:
            return obstore.head(self._objects, name)["size"]
        except FileNotFoundError:
            return None

    def _sha256(self, name: str) -> str | None:
        import obstore

        digest = hashlib.sha256()
        try:
            for chunk in obstore.get(self._objects, name).stream(min_chunk_size=MIB):
                digest.update(chunk)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def _delete(self, name: str) -> None:
        import obstore

        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._objects, name)

    def _for_each(self, take: Callable[[Entry], object]) -> None:
        import obstore

        self._sweep()
        for batch in obstore.list(self._objects, chunk_size=1000):
            if self._closed.is_set():
                return  # the process cannot end before this thread does
            for meta in batch:
                take(Entry(meta["path"], meta["size"], meta["last_modified"].timestamp()))

    def _sweep(self) -> None:
        """Deletes half-written files of killed servers: object_store writes to `name#1` first."""
        if self._root is None:
            return
        for path in self._root.glob("*/*#[0-9]*"):
            with contextlib.suppress(OSError):
                # In a store, another server may still be writing a recent one.
                if self._cache or path.stat().st_mtime < time.time() - LEFTOVER_S:
                    path.unlink()


def disk_size(size: int) -> int:
    """Returns `size` rounded up to whole disk blocks: what an object counts for against a limit."""
    return -(-size // DISK_BLOCK) * DISK_BLOCK


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
