"""Where bytes lie: a directory or an S3 bucket behind one small interface. In: names and bytes; out: the same bytes.

Both are object stores of obstore (the Rust crate object_store, which crates.io's registry and many databases use): one
package without dependencies, atomic writes in both places, ranges, retries with bounds. s3fs and aioboto3 bring
botocore, aiohttp and a dozen more for S3 alone. Two things were found and are mended here:

- its local writes are atomic (written beside, then renamed) but not flushed: what is answered with 201 is synced first;
- its asyncio functions end a Python before 3.14 with SIGABRT now and then where one was used just before the exit
  (obstore 0.12, 3 of 5 runs; the blocking ones never in 40), so the blocking ones run in a few threads of ours.
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
"""Operations on one backend at once; the others wait, and their time runs."""
LEFTOVER_S = 3600.0
"""A file that was begun so long ago and is not finished was left by a server that was killed."""
BLOCK = 4096
"""What is kept counts in whole blocks of so many bytes, as on most disks: so many tiny objects are bounded, too."""
FULL = re.compile(r"os error (28|122)\b|StorageFull|QuotaExceeded|No space left")
"""How a full disk (ENOSPC), a quota (EDQUOT) and S3-compatible services say that there is no room."""

GENERIC = re.compile(r"^(Generic \w+ error: )*(Unable to [a-z ]+(: | (?=/)))?")
"""How obstore begins what it says of most errors; what was tried is said in words of ours."""
OUTSIDE = re.compile(r"Requested range was invalid|416 Range Not Satisfiable|InvalidRange")
"""How directories and services say that a range begins after the end."""


@dataclass(frozen=True)
class Entry:
    """One object: its name, bytes, and when it was written in seconds since 1970."""

    name: str
    size: int
    modified: float

    @property
    def charge(self) -> int:
        """What it counts for where bytes are bounded."""
        return charge(self.size)


class Backend:
    """Objects by name. Every method raises `StoreUnavailableError` where the place fails or is too slow.

    Args:
        objects: the object store.
        words: what messages call the place.
        timeout: seconds an operation may take, waiting for a thread included.
        root: the directory, where it is one.
        cache: whether what lies here can be made again, and nobody else writes here. What `put` wrote to a directory
            is on the disk when it returns, unless it is one.
    """

    def __init__(
        self,
        objects: ObjectStore,
        words: str,
        timeout: float,
        root: Path | None = None,
        cache: bool = False,
    ) -> None:
        self.words = words
        self.kind = "cache of pictures" if cache else "store"
        self._objects = objects
        self.timeout = timeout
        self._root = root
        self._cache = cache
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bbmr-store")
        self._closed = threading.Event()

    async def put(self, name: str, data: bytes) -> None:
        """Write an object as a whole or not at all, over one of the same name.

        One that was given up may be written later all the same; in a cache, where nobody would count it, it is deleted.

        Raises:
            InsufficientStorageError: no room.
        """
        given_up = threading.Event()

        def write() -> None:
            self._put(name, data)
            if self._cache and given_up.is_set():
                self._delete(name)

        try:
            await self._call("write", write)
        except BaseException:
            given_up.set()
            raise

    async def get(self, name: str, timeout: float = math.inf) -> memoryview | None:
        """A whole object; None where there is none. `timeout` may be less than other operations have."""
        return await self._call("read", self._get, name, timeout=min(timeout, self.timeout))

    async def range(self, name: str, start: int, length: int) -> memoryview | None:
        """`length` bytes from `start` on, fewer or none where it ends before; None where there is no such object."""
        return await self._call("read", self._range, name, start, length)

    async def size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none."""
        return await self._call("look up", self._size, name)

    async def sha256(self, name: str) -> str | None:
        """SHA-256 of an object in hex, read piece by piece; None where there is none."""
        return await self._call("read", self._sha256, name)

    async def delete(self, name: str, timeout: float = math.inf) -> None:
        """Remove an object; nothing happens where there is none. `timeout` as of `get`."""
        await self._call("delete", self._delete, name, timeout=min(timeout, self.timeout))

    async def fold(self, take: Callable[[Entry], object]) -> None:
        """Call `take`, in a thread, with every object there is; in no order.

        There may be millions, so the whole has no time but that of each request behind it.
        """
        await self._call("list", self._fold, take, timeout=None)

    def close(self) -> None:
        """End the threads as soon as they are idle; a list that is being made ends where it is."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(
        self, verb: str, function: Callable[..., T], *arguments: object, timeout: float | None = -1.0
    ) -> T:
        from obstore.exceptions import BaseError

        loop = asyncio.get_running_loop()
        seconds = self.timeout if timeout == -1.0 else timeout
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, function, *arguments)
        except TimeoutError:
            logs.events.error(
                "%s: cannot %s in %s: not done after %g s", self.kind, verb, self.words, seconds
            )
            raise StoreUnavailableError("the store did not answer in time; try again later") from None
        except (BaseError, OSError) as error:
            text = str(error)
            # The first line names the object and the cause; what follows may be a whole answer of the service.
            line = GENERIC.sub("", text.partition("\n")[0])[:500]
            logs.events.error("%s: cannot %s in %s: %s", self.kind, verb, self.words, line)
            if FULL.search(text):
                raise InsufficientStorageError("the disk of the store is full; nothing was kept") from None
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

    def _fold(self, take: Callable[[Entry], object]) -> None:
        import obstore

        self._sweep()
        for batch in obstore.list(self._objects, chunk_size=1000):
            if self._closed.is_set():
                return  # nobody asks any more, and the process does not end before this thread
            for meta in batch:
                take(Entry(meta["path"], meta["size"], meta["last_modified"].timestamp()))

    def _sweep(self) -> None:
        """Remove what killed servers left half-written: object_store writes to `name#1` first."""
        if self._root is None:
            return
        for path in self._root.glob("*/*#[0-9]*"):
            with contextlib.suppress(OSError):
                # Where others write, it may be theirs and not finished.
                if self._cache or path.stat().st_mtime < time.time() - LEFTOVER_S:
                    path.unlink()


def charge(size: int) -> int:
    """What `size` bytes count for where bytes are bounded."""
    return -(-size // BLOCK) * BLOCK


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
