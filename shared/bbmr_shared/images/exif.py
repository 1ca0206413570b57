"""EXIF blocks (TIFF 6.0, section 2; EXIF 2.32, section 4.5): the walk over their directories, and a limit of values.

Entries may share bytes, so that 1 MB can name 17 GB of values; Pillow reads them and writes a warning for each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

EXIF_MARKER = b"Exif\0\0"
"""What stands before the block in a JPEG segment, and not in other formats."""
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
DIRECTORIES = frozenset({EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY})
"""Tags whose value says where another directory lies."""
ENTRY_BYTES = 12
INLINE_BYTES = 4
"""A value of at most so many bytes lies in its entry."""
BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


class ExifEntry(NamedTuple):
    """One entry of a directory: where it lies, its tag, type, number of values, and its value field as a number.

    `value` is None where the block ends inside the entry.
    """

    at: int
    tag: int
    type: int
    values: int
    value: int | None

    @property
    def outside_bytes(self) -> int:
        """Bytes of its values that do not lie in the entry itself."""
        size = BYTES_OF_TYPE.get(self.type, 1) * self.values
        return size if size > INLINE_BYTES else 0


def byte_order(block: bytes | bytearray) -> str | None:
    """Returns `struct`'s character for the byte order of a block, or None if it is no TIFF block."""
    return _ORDERS.get(bytes(block[:4]))


def first_directory(block: bytes | bytearray, order: str) -> int:
    """Returns where the first directory lies. Raises `struct.error` if the block ends before."""
    (at,) = struct.unpack_from(order + "I", block, 4)
    return int(at)


def entries(block: bytes | bytearray, order: str, at: int) -> Iterator[ExifEntry]:
    """Yields the entries of the directory at `at`, each read when it is asked for.

    Raises:
        struct.error: the directory goes on behind the end of the block.
    """
    start, end = entries_span(block, order, at)
    for entry in range(start, end, ENTRY_BYTES):
        tag, type, values = struct.unpack_from(order + "HHI", block, entry)
        whole = entry + ENTRY_BYTES <= len(block)
        value = struct.unpack_from(order + "I", block, entry + 8)[0] if whole else None
        yield ExifEntry(entry, tag, type, values, value)


def entries_span(block: bytes | bytearray, order: str, at: int) -> tuple[int, int]:
    """Returns where the entries of the directory at `at` start, and where they end: there is the link to the next one.

    Raises `struct.error` if the block ends before.
    """
    (count,) = struct.unpack_from(order + "H", block, at)
    return at + 2, at + 2 + ENTRY_BYTES * int(count)


def is_bounded(block: bytes) -> bool:
    """Returns whether the entries of all directories and their values together have no more bytes than the block."""
    order = byte_order(block)
    if order is None:
        return False
    try:
        waiting, seen, total = [first_directory(block, order)], set[int](), 0
        while waiting:
            at = waiting.pop()
            if at in seen:
                return False
            seen.add(at)
            for entry in entries(block, order, at):
                total += ENTRY_BYTES + entry.outside_bytes
                if entry.value is None or total > len(block):
                    return False
                if entry.tag in DIRECTORIES:
                    waiting.append(entry.value)
    except struct.error:
        return False
    return True
