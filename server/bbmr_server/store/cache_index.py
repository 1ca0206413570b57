"""Files of the picture cache: their names, their format, and the index that says which one is evicted next."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from cachetools import LRUCache

from bbmr_server.engine import Answer

from .backend import Entry

DIGEST_BYTES = 16
NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-f]{32}\.picture")
"""Other files in the directory are left alone."""
_LINE_END = re.compile(b"\n")


class Index(LRUCache[str, int]):
    """Name → bytes on the disk, least recently used first out. `evicted` lists names whose files are to be deleted."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, getsizeof=lambda size: size)
        self.evicted: list[str] = []

    def popitem(self) -> tuple[str, int]:
        """Evicts the least recently used entry."""
        item = super().popitem()
        self.evicted.append(item[0])
        return item

    def add_existing(self, name: str, size: int) -> None:
        """Adds a file that is there already; one larger than the limit is evicted at once."""
        if size > self.maxsize:
            self.evicted.append(name)
        else:
            self[name] = size

    def make_room(self, size: int) -> None:
        """Evicts entries until `size` bytes fit."""
        while self.currsize + size > self.maxsize:
            self.popitem()

    def drop(self, name: str) -> None:
        """Evicts the entry `name`, if there is one."""
        if self.pop(name, None) is not None:
            self.evicted.append(name)

    def drop_all(self, prefix: str) -> None:
        """Evicts all entries whose names begin with `prefix`."""
        for name in [name for name in self if name.startswith(prefix)]:
            self.drop(name)


def index_of(entries: Iterable[Entry], limit: int) -> Index:
    """Returns the index of the files in a directory. If they exceed `limit` bytes, the oldest are evicted."""
    index = Index(limit)
    for entry in sorted(entries, key=lambda entry: entry.modified):
        if NAME.fullmatch(entry.name):
            index.add_existing(entry.name, entry.disk_size)
    return index


def name_of(digest: str, tag: str) -> str:
    """Returns the name of the file of the picture `tag` of one container."""
    return f"{prefix_of(digest)}-{tag}.picture"


def prefix_of(digest: str) -> str:
    """Returns the beginning of the names of all pictures of one container."""
    return f"{digest[:2]}/{digest}"


def pack(answer: Answer) -> bytes:
    """Returns a picture as a file: BLAKE2b digest, one line of JSON, the coded picture."""
    fields = {"mime": answer.mime, "width": answer.width, "height": answer.height, "model": answer.model}
    head = json.dumps(fields).encode() + b"\n"
    digest = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
    digest.update(answer.data)
    return b"".join((digest.digest(), head, answer.data))


def unpack(data: memoryview) -> Answer | None:
    """Returns the picture in a file, or None if the file is damaged."""
    body = data[DIGEST_BYTES:]
    end = _LINE_END.search(body)
    if end is None or hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != data[:DIGEST_BYTES]:
        return None
    return Answer(data=bytes(body[end.end() :]), **json.loads(bytes(body[: end.start()])))
