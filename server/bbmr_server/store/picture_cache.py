"""The cache of reconstructed pictures on a disk. It evicts, and never fails a request.

cachetools decides what is evicted (least recently used, bounded in bytes), a `Backend` stores the bytes. diskcache does
both, but has had no release since 2023, reads pickles from its directory (CVE-2025-69872), and exceeds its bound. Here
nothing is unpickled, and every file carries a digest, so a damaged file is a miss.

The index is in memory and is built from the directory in the background, so each server needs its own directory.
Pictures are written while their responses are sent. A request waits at most `DISK_TIMEOUT_S` for a disk that hangs.
Until there is an index, and for `PAUSE_S` after a failure, the cache is skipped and every picture is made again.
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

from .backend import Backend, Entry, disk_size
from .cache_index import Index, index_of, name_of, pack, prefix_of, unpack
from .errors import InsufficientStorageError
from .locks import KeyedLocks, WaitGuard, unguarded
from .metrics import StoreMetrics

MAX_PENDING = 8
"""Pictures that may wait in memory to be written. While so many wait, further ones are not cached."""
INDEX_WAIT_S = 0.5
"""Seconds that requests wait for the index after its build began, so that the first requests can hit too."""
DISK_TIMEOUT_S = 10.0
"""Seconds that requests wait for the disk to read or delete a picture. Making it again is faster than that."""
PAUSE_S = 30.0
"""Seconds without access after the disk failed or hung. A full disk causes no pause: it can still be read."""


class PictureCache:
    """Pictures by the digest of their container and a tag, together at most `limit` bytes."""

    def __init__(self, backend: Backend, limit: int, metrics: StoreMetrics) -> None:
        self._backend = backend
        self._limit = limit
        self._metrics = metrics
        self._index: Index | None = None
        self._indexing: asyncio.Task[None] | None = None
        self._indexing_since = 0.0
        self._paused_until = 0.0
        self._forgotten_prefixes: set[str] = set()
        self._pending: dict[str, Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._locks = KeyedLocks()
        self._failing = False

    def begin(self) -> asyncio.Task[None]:
        """Starts building the index in the background, unless that is under way. Returns its task."""
        if self._indexing is None or self._indexing.done():
            self._indexing_since = time.monotonic()
            self._indexing = asyncio.create_task(self._build_index())
        return self._indexing

    async def size(self, digest: str, tag: str) -> int:
        """Returns how many bytes `get` would read; 0 for a miss."""
        name = name_of(digest, tag)
        if name in self._pending:
            return len(self._pending[name].data)
        index = await self._ready_index()
        return 0 if index is None else index.get(name, 0)

    async def get(self, digest: str, tag: str, count_miss: bool = True) -> Answer | None:
        """Returns the cached picture, or None if it is not there, is damaged, or the disk fails.

        `count_miss`: whether a miss counts in the metrics; False if the caller looks again.
        """
        name = name_of(digest, tag)
        answer = self._pending.get(name)
        if answer is None:
            index = await self._ready_index()
            try:
                if index is not None and name in index:
                    answer = await self._read(index, name)
            except BbmrError as error:
                self._failed(error)
                return None
        if answer is not None or count_miss:
            self._metrics.cache("miss" if answer is None else "hit")
        return answer

    def keep(
        self,
        digest: str,
        tag: str,
        answer: Answer,
        memory: BodyMemory,
        check_exists: Callable[[], Awaitable[object]],
    ) -> None:
        """Writes a picture in the background, and evicts others if it needs their room.

        Until it is written, `get` finds it in memory. It is not cached if it does not fit into the cache or the memory,
        or if `MAX_PENDING` others wait.

        Args:
            memory: where its bytes count until it is written.
            check_exists: called after the write; raises a BbmrError if the container was deleted meanwhile.
        """
        size = len(answer.data)
        full = len(self._pending) >= MAX_PENDING or memory.used + size > memory.limit
        if full or size > self._limit or self._paused:
            return
        name = name_of(digest, tag)
        self._pending[name] = answer
        task = asyncio.create_task(self._keep(name, answer, memory, check_exists))
        self._tasks.add(task)  # the event loop only holds a weak reference
        task.add_done_callback(self._tasks.discard)

    def making(
        self, tag: str, seconds: float, guard: WaitGuard = unguarded
    ) -> AbstractAsyncContextManager[None]:
        """Keeps others from making the picture of this tag while the block runs: they wait, and then find it cached.

        Raises:
            DeadlineError if another request holds it for `seconds`; whatever `guard` raises.
        """
        late = DeadlineError("the same picture is being made for another request, which takes too long")
        return self._locks.hold(tag, seconds, late, guard)

    async def forget(self, digest: str) -> None:
        """Removes every picture of one container. If the disk fails, their files are deleted later."""
        await self._forget(prefix_of(digest))

    def close(self) -> None:
        """Ends the threads, and drops what is not written yet."""
        for task in (self._indexing, *self._tasks):
            if task is not None:
                task.cancel()
        self._backend.close()

    # The index

    @property
    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    async def _ready_index(self) -> Index | None:
        """Returns the index, or None while it is built or the cache is paused."""
        if self._index is None and not self._paused:
            task = self.begin()
            left = self._indexing_since + INDEX_WAIT_S - time.monotonic()
            await asyncio.wait({task}, timeout=max(0.0, left))
        return None if self._paused else self._index

    async def _build_index(self) -> None:
        entries: list[Entry] = []
        try:
            await self._backend.for_each(entries.append)
            index = await asyncio.to_thread(index_of, entries, self._limit)
            for prefix in self._forgotten_prefixes:
                index.drop_all(prefix)
            self._forgotten_prefixes.clear()
            self._index = index
            self._report_size()
            await self._evict(index)
        except BbmrError as error:
            self._failed(error)

    # Files

    async def _read(self, index: Index, name: str) -> Answer | None:
        data = await self._backend.get(name, DISK_TIMEOUT_S)
        answer = None if data is None else await asyncio.to_thread(unpack, data)
        if answer is None:
            index.drop(name)
        else:
            index.get(name)  # marks it as the most recently used
        return answer

    async def _keep(
        self, name: str, answer: Answer, memory: BodyMemory, check_exists: Callable[[], Awaitable[object]]
    ) -> None:
        try:
            with memory.share() as share:
                share.hold(len(answer.data))  # the response may be sent long before
                async with self._writing:
                    await self._write(name, answer, share)
                # Checked after the write: a later deletion of the container finds the picture in the index.
                try:
                    await check_exists()
                except BbmrError:
                    await self._forget(name)
        except BbmrError as error:
            self._failed(error)
        finally:
            del self._pending[name]
            self._report_size()

    async def _write(self, name: str, answer: Answer, share: BodyShare) -> None:
        index = await self._ready_index()
        if index is None:
            return
        data = await asyncio.to_thread(pack, answer)
        share.hold(len(data))
        size = disk_size(len(data))
        if size > self._limit:
            return
        index.make_room(size)
        await self._evict(index)
        try:
            await self._backend.put(name, data)
        except BaseException:
            index.evicted.append(name)  # a write that timed out may still have been done
            raise
        index[name] = size
        self._failing = False

    async def _forget(self, prefix: str) -> None:
        if self._index is None:
            self._forgotten_prefixes.add(prefix)
            return
        self._index.drop_all(prefix)
        self._report_size()
        try:
            if not self._paused:
                await self._evict(self._index)
        except BbmrError as error:
            self._failed(error)

    async def _evict(self, index: Index) -> None:
        """Deletes the files of evicted entries. A file that cannot be deleted is tried again later."""
        while index.evicted:
            name = index.evicted.pop()
            if name in index:
                continue  # it was cached again meanwhile
            try:
                await self._backend.delete(name, DISK_TIMEOUT_S)
            except BaseException:
                index.evicted.append(name)
                raise

    def _failed(self, error: BbmrError) -> None:
        self._metrics.cache("error")
        if not isinstance(error, InsufficientStorageError):
            self._paused_until = time.monotonic() + PAUSE_S
        if not self._failing:
            logs.events.warning("%s: it is skipped until it works again", self._backend.kind)
        self._failing = True

    def _report_size(self) -> None:
        if self._index is not None:
            self._metrics.cache_bytes.set(self._index.currsize)
