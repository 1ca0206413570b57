"""The cache of reconstructed pictures: a name in, a picture or None out. It evicts, and never fails a request.

cachetools decides what leaves (least recently used, bounded in bytes), a `Backend` keeps the bytes. diskcache does both
in one, but has had no release since 2023, reads pickles from its directory (CVE-2025-69872), and lets its bound be
exceeded; here nothing is unpickled, and every entry carries a digest, so one that was damaged is a miss.

The index is in memory, and made from the directory at the first use; so each server needs a directory of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from cachetools import LRUCache

from bbmr_shared.errors import BbmrError

from .. import logs
from ..engine import Answer
from ..errors import DeadlineError
from .backend import Backend, Entry, charge
from .watch import StoreWatch

DIGEST_BYTES = 16
WAITING = 8
"""Pictures that may wait to be written; on a slow disk, requests do not queue up behind the cache."""
_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-f]{32}\.picture")


class PictureCache:
    """Pictures by the digest of their container and a tag, of together at most `limit` bytes."""

    def __init__(self, backend: Backend, limit: int, watch: StoreWatch) -> None:
        self._backend = backend
        self._limit = limit
        self._watch = watch
        self._index: _Index | None = None
        self._opening = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._failing = False

    async def size(self, digest: str, tag: str) -> int:
        """Bytes that `get` would read; 0 where it would find nothing."""
        try:
            return (await self._opened()).get(_name(digest, tag), 0)
        except BbmrError:
            return 0  # `get` says so

    async def get(self, digest: str, tag: str) -> Answer | None:
        """The picture kept under this name, or None: not there, damaged, or the cache fails."""
        name = _name(digest, tag)
        try:
            index = await self._opened()
            data = await self._backend.get(name) if name in index else None
            answer = None if data is None else _unpack(data)
            if data is None:
                index.pop(name, None)
            elif answer is None:
                index.drop(name)
        except BbmrError as error:
            self._failed(error)
            return None
        if answer is not None:
            index.get(name)  # it is the most recently used one now
        self._watch.cache("miss" if answer is None else "hit")
        return answer

    async def put(self, digest: str, tag: str, answer: Answer) -> None:
        """Keep a picture, and evict what was used longest ago where it needs the room.

        One that does not fit the bound, or comes while `WAITING` others wait to be written, is not kept.
        """
        name, data = _name(digest, tag), _pack(answer)
        size = charge(len(data))
        if size > self._limit or self._waiting >= WAITING:
            return
        self._waiting += 1
        try:
            async with self._writing:
                index = await self._opened()
                index.make_room(size)
                await self._evict(index)
                await self._backend.put(name, data)
                index[name] = size
                self._failing = False
        except BbmrError as error:
            self._failed(error)
        finally:
            self._waiting -= 1
            self._tell()

    @asynccontextmanager
    async def making(self, tag: str, seconds: float) -> AsyncIterator[None]:
        """While the block runs, nobody else makes the picture of this tag: they wait, and find it here then.

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
        try:
            yield
        finally:
            lock.release()

    async def forget(self, digest: str) -> None:
        """Remove every picture of one container."""
        try:
            async with self._writing:
                index = await self._opened()
                for name in [name for name in index if name.startswith(_start(digest))]:
                    index.drop(name)
                await self._evict(index)
        except BbmrError as error:
            self._failed(error)
        finally:
            self._tell()

    def close(self) -> None:
        """End the threads."""
        self._backend.close()

    async def _opened(self) -> _Index:
        async with self._opening:
            if self._index is None:
                index = _Index(self._limit)
                entries: list[Entry] = []
                await self._backend.fold(entries.append)
                for entry in sorted(entries, key=lambda entry: entry.modified):
                    if _NAME.fullmatch(entry.name):
                        index.take(entry.name, entry.charge)
                self._index = index
        return self._index

    async def _evict(self, index: _Index) -> None:
        """Delete the files of what has left the index; those that cannot be deleted are tried again."""
        while index.evicted:
            name = index.evicted.pop()
            try:
                await self._backend.delete(name)
            except BbmrError:
                index.evicted.append(name)
                raise

    def _failed(self, error: BbmrError) -> None:
        self._watch.cache("error")
        if not self._failing:
            logs.events.warning("the cache of pictures fails, and pictures are made anew: %s", error)
        self._failing = True

    def _tell(self) -> None:
        if self._index is not None:
            self._watch.cache_bytes.set(self._index.currsize)


class _Index(LRUCache[str, int]):
    """Name → bytes; what it throws out is listed in `evicted` until its file is deleted."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, getsizeof=lambda size: size)
        self.evicted: list[str] = []

    def popitem(self) -> tuple[str, int]:
        """Throw out what was used longest ago."""
        item = super().popitem()
        self.evicted.append(item[0])
        return item

    def take(self, name: str, size: int) -> None:
        """Note a file that is there already, however large."""
        if size > self.maxsize:
            self.evicted.append(name)
        else:
            self[name] = size

    def make_room(self, size: int) -> None:
        """Throw out until `size` bytes fit."""
        while self.currsize + size > self.maxsize:
            self.popitem()

    def drop(self, name: str) -> None:
        """Throw out one."""
        if self.pop(name, None) is not None:
            self.evicted.append(name)


def _name(digest: str, tag: str) -> str:
    return f"{_start(digest)}-{tag}.picture"


def _start(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _pack(answer: Answer) -> bytes:
    fields = {"mime": answer.mime, "width": answer.width, "height": answer.height, "model": answer.model}
    body = json.dumps(fields).encode() + b"\n" + answer.data
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() + body


def _unpack(data: memoryview) -> Answer | None:
    body = data[DIGEST_BYTES:]
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != data[:DIGEST_BYTES]:
        return None
    head, _, picture = bytes(body).partition(b"\n")
    return Answer(data=picture, **json.loads(head))
