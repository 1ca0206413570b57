"""Walks the boxes of ISO base media files (ISO/IEC 14496-12, 4.2): AVIF, HEIF and JPEG XL consist of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """One box: its kind, and where its content starts and ends. `end` is as declared: behind the data, or before
    `start`, in a damaged file.
    """

    kind: bytes
    start: int
    end: int


def boxes(data: bytes | memoryview) -> Iterator[Box]:
    """Yields the boxes that follow one another in `data`.

    The walk ends at the end of the data, where the header of a box is cut off, and behind a box that is damaged.
    """
    at, start, end = 0, 0, 0
    while start <= end and at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            start = at + 16
        end = at + size if size else len(data)
        yield Box(kind, start, end)
        at = end
