"""The cache of reconstructed pictures: a name in, a picture or None out. It evicts, and never fails a request.

cachetools decides what leaves (least recently used, bounded in bytes), a `Backend` keeps the bytes. diskcache does both
in one, but has had no release since 2023, reads pickles from its directory (CVE-2025-69872), and lets its bound be
exceeded; here nothing is unpickled, and every entry carries a digest, so one that was damaged is a miss.

The index is in memory, and made from the directory in the background; so each server needs a directory of its own.
Pictures are written while their answers are on the way. Whoever meets a disk that hangs waits `WAIT_S` at most, and
nobody else does: until there is an index, and for `REST_S` after a failure, every picture is made anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from bbmr_server.engine import Answer
from bbmr_server.errors import DeadlineError
from bbmr_server.http.body import BodyMemory, BodyShare
from bbmr_server.observability import logs
from bbmr_shared.errors import BbmrError

from .backend import Backend, Entry, charge
from .cache_index import Index, index_of, name_of, pack, start_of, unpack
from .errors import InsufficientStorageError
from .locks import Guard, Locks, patiently
from .metrics import StoreWatch

WAITING = 8
"""Pictures that may wait to be written, in memory; those that come meanwhile are not kept."""
OPENING_S = 0.5
"""Seconds that requests wait for the index once it is begun: those right after the start may find something, too."""
WAIT_S = 10.0
"""Seconds that requests wait for the disk to read or delete a picture; one that takes longer is sooner made anew."""
REST_S = 30.0
"""Seconds a disk is left alone that has failed or hung. One that is full is not: it can be read."""


class PictureCache:
    """Pictures by the digest of their container and a tag, of together at most `limit` bytes."""

    def __init__(self, backend: Backend, limit: int, watch: StoreWatch) -> None:
        self._backend = backend
        self._limit = limit
        self._watch = watch
        self._index: Index | None = None
        self._opening: asyncio.Task[None] | None = None
        self._begun_at = 0.0
        self._rests_until = 0.0
        self._forgotten: set[str] = set()
        self._pending: dict[str, Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._locks = Locks()
        self._failing = False

    def begin(self) -> asyncio.Task[None]:
        """Look in the background what is there, unless that is under way."""
        if self._opening is None or self._opening.done():
            self._begun_at = time.monotonic()
            self._opening = asyncio.create_task(self._open())
        return self._opening

    async def size(self, digest: str, tag: str) -> int:
        """Bytes that `get` would read; 0 where it would find nothing."""
        name = name_of(digest, tag)
        if name in self._pending:
            return len(self._pending[name].data)
        index = await self._opened()
        return 0 if index is None else index.get(name, 0)

    async def get(self, digest: str, tag: str, again: bool = False) -> Answer | None:
        """The picture kept under this name, or None: not there, damaged, or the cache fails.

        `again`: it will be asked for again, so that it is not there is not counted.
        """
        name = name_of(digest, tag)
        answer = self._pending.get(name)
        if answer is None:
            index = await self._opened()
            try:
                if index is not None and name in index:
                    answer = await self._read(index, name)
            except BbmrError as error:
                self._failed(error)
                return None
        if answer is not None or not again:
            self._watch.cache("miss" if answer is None else "hit")
        return answer

    def keep(
        self,
        digest: str,
        tag: str,
        answer: Answer,
        memory: BodyMemory,
        still: Callable[[], Awaitable[object]],
    ) -> None:
        """Write a picture in the background, and evict what was used longest ago where it needs the room.

        Until it is written, `get` finds it in memory. One that does not fit the bound or the memory, or comes while
        `WAITING` others wait, is not kept.

        Args:
            memory: where it counts until it is written.
            still: raises a `BbmrError` where the container was deleted meanwhile; asked once it is written.
        """
        size = len(answer.data)
        full = len(self._pending) >= WAITING or memory.used + size > memory.limit
        if full or size > self._limit or self._resting:
            return
        name = name_of(digest, tag)
        self._pending[name] = answer
        task = asyncio.create_task(self._keep(name, answer, memory, still))
        self._tasks.add(task)  # the loop itself does not hold it
        task.add_done_callback(self._tasks.discard)

    def making(self, tag: str, seconds: float, guard: Guard = patiently) -> AbstractAsyncContextManager[None]:
        """While the block runs, nobody else makes the picture of this tag: they wait, and find it here then.

        Raises:
            DeadlineError: another was at it for `seconds`; and what `guard` raises, which may end the wait sooner.
        """
        late = DeadlineError("the same picture is being made for another request, which takes too long")
        return self._locks.alone(tag, seconds, late, guard)

    async def forget(self, digest: str) -> None:
        """Remove every picture of one container; where the disk fails, their files are deleted later."""
        await self._forget(start_of(digest))

    def close(self) -> None:
        """End the threads, and what is not written yet."""
        for task in (self._opening, *self._tasks):
            if task is not None:
                task.cancel()
        self._backend.close()

    # The index

    @property
    def _resting(self) -> bool:
        return time.monotonic() < self._rests_until

    async def _opened(self) -> Index | None:
        """The index; None while it is made, which is waited for only at the beginning, and while the disk fails."""
        if self._index is None and not self._resting:
            opening = self.begin()
            left = self._begun_at + OPENING_S - time.monotonic()
            await asyncio.wait({opening}, timeout=max(0.0, left))
        return None if self._resting else self._index

    async def _open(self) -> None:
        entries: list[Entry] = []
        try:
            await self._backend.fold(entries.append)
            index = await asyncio.to_thread(index_of, entries, self._limit)
            for start in self._forgotten:
                index.drop_all(start)
            self._forgotten.clear()
            self._index = index
            self._tell()
            await self._evict(index)
        except BbmrError as error:
            self._failed(error)

    # Files

    async def _read(self, index: Index, name: str) -> Answer | None:
        data = await self._backend.get(name, WAIT_S)
        answer = None if data is None else await asyncio.to_thread(unpack, data)
        if answer is None:
            index.drop(name)
        else:
            index.get(name)  # it is the most recently used one now
        return answer

    async def _keep(
        self, name: str, answer: Answer, memory: BodyMemory, still: Callable[[], Awaitable[object]]
    ) -> None:
        try:
            with memory.share() as share:
                share.hold(len(answer.data))  # the answer itself may be taken long before
                async with self._writing:
                    await self._write(name, answer, share)
                # After it, not before: who deletes the container from now on finds the picture in the index.
                try:
                    await still()
                except BbmrError:
                    await self._forget(name)
        except BbmrError as error:
            self._failed(error)
        finally:
            del self._pending[name]
            self._tell()

    async def _write(self, name: str, answer: Answer, share: BodyShare) -> None:
        index = await self._opened()
        if index is None:
            return
        data = await asyncio.to_thread(pack, answer)
        share.hold(len(data))
        size = charge(len(data))
        if size > self._limit:
            return
        index.make_room(size)
        await self._evict(index)
        try:
            await self._backend.put(name, data)
        except BaseException:
            index.evicted.append(name)  # it may have been written in the very moment it was given up
            raise
        index[name] = size
        self._failing = False

    async def _forget(self, start: str) -> None:
        if self._index is None:
            self._forgotten.add(start)
            return
        self._index.drop_all(start)
        self._tell()
        try:
            if not self._resting:
                await self._evict(self._index)
        except BbmrError as error:
            self._failed(error)

    async def _evict(self, index: Index) -> None:
        """Delete the files of what has left the index; those that cannot be deleted are tried again."""
        while index.evicted:
            name = index.evicted.pop()
            if name in index:
                continue  # it was made again meanwhile
            try:
                await self._backend.delete(name, WAIT_S)
            except BaseException:
                index.evicted.append(name)
                raise

    def _failed(self, error: BbmrError) -> None:
        self._watch.cache("error")
        if not isinstance(error, InsufficientStorageError):
            self._rests_until = time.monotonic() + REST_S
        if not self._failing:
            logs.events.warning("%s: until it works again, pictures are made anew", self._backend.kind)
        self._failing = True

    def _tell(self) -> None:
        if self._index is not None:
            self._watch.cache_bytes.set(self._index.currsize)
