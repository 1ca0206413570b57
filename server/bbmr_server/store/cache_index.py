"""Entries of the cache of pictures: names, the bytes of their files, and the index that says what leaves first."""

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

    def drop_all(self, start: str) -> None:
        """Throw out all whose names begin so."""
        for name in [name for name in self if name.startswith(start)]:
            self.drop(name)


def index_of(entries: Iterable[Entry], limit: int) -> Index:
    """The index of what lies in the directory; where it is too much, the oldest leaves."""
    index = Index(limit)
    for entry in sorted(entries, key=lambda entry: entry.modified):
        if NAME.fullmatch(entry.name):
            index.take(entry.name, entry.charge)
    return index


def name_of(digest: str, tag: str) -> str:
    """Where the picture `tag` of one container lies."""
    return f"{start_of(digest)}-{tag}.picture"


def start_of(digest: str) -> str:
    """How the names of all pictures of one container begin."""
    return f"{digest[:2]}/{digest}"


def pack(answer: Answer) -> bytes:
    """A picture as a file: digest, a line of JSON, the picture."""
    fields = {"mime": answer.mime, "width": answer.width, "height": answer.height, "model": answer.model}
    head = json.dumps(fields).encode() + b"\n"
    digest = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
    digest.update(answer.data)
    return b"".join((digest.digest(), head, answer.data))


def unpack(data: memoryview) -> Answer | None:
    """The picture of a file; None where it was damaged."""
    body = data[DIGEST_BYTES:]
    end = _LINE_END.search(body)
    if end is None or hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != data[:DIGEST_BYTES]:
        return None
    return Answer(data=bytes(body[end.end() :]), **json.loads(bytes(body[: end.start()])))
