"""The cache of reconstructed pictures: a name in, a picture or None out. It evicts, and never fails a request.

cachetools decides what leaves (least recently used, bounded in bytes), a `Backend` keeps the bytes. diskcache does both
in one, but has had no release since 2023, reads pickles from its directory (CVE-2025-69872), and lets its bound be
exceeded; here nothing is unpickled, and every entry carries a digest, so one that was damaged is a miss.

The index is in memory, and made from the directory in the background; so each server needs a directory of its own.
Until it is made, and where the disk hangs for ever, every picture is made anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from bbmr_shared.errors import BbmrError

from .. import logs
from ..engine import Answer
from ..errors import DeadlineError
from .backend import Backend, Entry, charge
from .entries import NAME, Index, name_of, pack, start_of, unpack
from .errors import InsufficientStorageError
from .watch import StoreWatch

WAITING = 8
"""Pictures that may wait to be written; on a slow disk, requests do not queue up behind the cache."""
OPENING_S = 0.5
"""Seconds that requests wait for the index once it is begun: those right after the start may find something, too."""


class PictureCache:
    """Pictures by the digest of their container and a tag, of together at most `limit` bytes."""

    def __init__(self, backend: Backend, limit: int, watch: StoreWatch) -> None:
        self._backend = backend
        self._limit = limit
        self._watch = watch
        self._index: Index | None = None
        self._opening: asyncio.Task[None] | None = None
        self._begun_at = 0.0
        self._forgotten: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._failing = False

    def begin(self) -> asyncio.Task[None]:
        """Look in the background what is there, unless that is under way."""
        if self._opening is None or self._opening.done():
            self._begun_at = time.monotonic()
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._opening

    async def size(self, digest: str, tag: str) -> int:
        """Bytes that `get` would read; 0 where it would find nothing."""
        try:
            index = await self._opened()
        except BbmrError:
            return 0  # `get` says so
        return 0 if index is None else index.get(name_of(digest, tag), 0)

    async def get(self, digest: str, tag: str) -> Answer | None:
        """The picture kept under this name, or None: not there, damaged, or the cache fails."""
        name = name_of(digest, tag)
        try:
            index = await self._opened()
            data = None if index is None or name not in index else await self._backend.get(name)
            answer = None if data is None else unpack(data)
        except BbmrError as error:
            self._failed(error)
            return None
        if index is None:
            pass
        elif data is None:
            index.pop(name, None)
        elif answer is None:
            index.drop(name)
        else:
            index.get(name)  # it is the most recently used one now
        self._watch.cache("miss" if answer is None else "hit")
        return answer

    async def put(self, digest: str, tag: str, answer: Answer) -> None:
        """Keep a picture, and evict what was used longest ago where it needs the room.

        One that does not fit the bound, or comes while `WAITING` others wait to be written, is not kept.
        """
        name, data = name_of(digest, tag), pack(answer)
        size = charge(len(data))
        if size > self._limit or self._waiting >= WAITING:
            return
        self._waiting += 1
        try:
            async with self._writing:
                index = await self._opened()
                if index is None:
                    return
                index.make_room(size)
                await self._evict(index)
                try:
                    await self._backend.put(name, data)
                except BaseException:
                    index.evicted.append(name)  # one that came too late may be there after all
                    raise
                index[name] = size
                self._failing = False
        except BbmrError as error:
            self._failed(error)
        finally:
            self._waiting -= 1
            self._tell()

    @asynccontextmanager
    async def making(self, tag: str, seconds: float) -> AsyncIterator[Making]:
        """While the block runs, nobody else makes the picture of this tag: they wait, and find it here then.

        So they do while what was given to `Making.afterwards` runs.

        Raises:
            DeadlineError: another was at it for `seconds`.
        """
        lock = self._locks.setdefault(tag, asyncio.Lock())
        try:
            async with asyncio.timeout(seconds):
                await lock.acquire()
        except TimeoutError:
            raise DeadlineError(
                "the same picture is being made for another request, which takes too long"
            ) from None
        making = Making()
        try:
            yield making
        finally:
            if making.rest is None:
                lock.release()
            else:
                self._tasks.add(making.rest)  # the loop itself does not hold it
                making.rest.add_done_callback(self._tasks.discard)
                making.rest.add_done_callback(lambda _: lock.release())

    async def forget(self, digest: str) -> None:
        """Remove every picture of one container."""
        try:
            async with self._writing:
                index = await self._opened()
                if index is None:
                    self._forgotten.add(start_of(digest))
                    return
                for name in [name for name in index if name.startswith(start_of(digest))]:
                    index.drop(name)
                await self._evict(index)
        except BbmrError as error:
            self._failed(error)
        finally:
            self._tell()

    def close(self) -> None:
        """End the threads."""
        self._backend.close()

    async def _opened(self) -> Index | None:
        """The index; None while it is made, which is waited for only at the beginning. Raises as the backend."""
        if self._index is None:
            opening = self.begin()
            left = self._begun_at + OPENING_S - time.monotonic()
            await asyncio.wait({opening}, timeout=max(0.0, left))
            if opening.done():
                opening.result()
        return self._index

    async def _open(self) -> None:
        index = Index(self._limit)
        entries: list[Entry] = []
        await self._backend.fold(entries.append)
        for entry in sorted(entries, key=lambda entry: entry.modified):
            if NAME.fullmatch(entry.name):
                index.take(entry.name, entry.charge)
        for name in [name for name in index if name.partition("-")[0] in self._forgotten]:
            index.drop(name)
        self._forgotten.clear()
        self._index = index
        self._tell()

    async def _evict(self, index: Index) -> None:
        """Delete the files of what has left the index; those that cannot be deleted are tried again."""
        while index.evicted:
            name = index.evicted.pop()
            if name in index:
                continue  # it was made again meanwhile
            try:
                await self._backend.delete(name)
            except BbmrError:
                index.evicted.append(name)
                raise

    def _failed(self, error: BbmrError) -> None:
        self._watch.cache("error")
        if not self._failing:
            why = "its disk is full" if isinstance(error, InsufficientStorageError) else "see above"
            where = self._backend.words
            logs.events.warning("the cache of pictures in %s fails (%s): pictures are made anew", where, why)
        self._failing = True

    def _tell(self) -> None:
        if self._index is not None:
            self._watch.cache_bytes.set(self._index.currsize)


class Making:
    """The right to make one picture."""

    def __init__(self) -> None:
        self.rest: asyncio.Task[None] | None = None

    def afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this while the answer is on its way already."""
        self.rest = asyncio.create_task(work)
