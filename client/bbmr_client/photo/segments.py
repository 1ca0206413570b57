"""The parts that a picture file consists of, walked by their lengths; nothing is decoded.

In: the bytes of a JPEG or PNG file. Out: (kind, where) of every part, in the order of the file. A file
that breaks off ends the walk, with `struct.error` where that is inside a header.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

END_OF_JPEG, EXIF_OR_XMP = 0xD9, 0xE1
_SCAN, _FILL = 0xDA, 0xFF
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan: stuffed zeros and restart markers belong to it (T.81, B.1.1.5)."""

_PNG_METADATA = frozenset({b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"eXIf"})


def jpeg_segments(data: bytes) -> Iterator[tuple[int, slice]]:
    """Marker and place of the segments behind SOI, a scan with its data, EOI with all that follows it."""
    at = 2
    while True:
        first, marker = struct.unpack_from(">BB", data, at)
        if first == _FILL and marker == _FILL:
            at += 1
            continue
        if first != _FILL or marker == END_OF_JPEG:
            yield marker if first == _FILL else 0, slice(at, len(data))
            return
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + size
        if marker == _SCAN:
            following = _NEXT_MARKER.search(data, end)
            end = len(data) if following is None else following.start()
        yield marker, slice(at, end)
        at = end


def png_chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Type and place of the chunks up to IEND, each with its length and checksum."""
    at, kind = 8, b""
    while at < len(data) and kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, slice(at, at + 12 + size)
        at += 12 + size


def without_metadata(data: bytes, format: str) -> bytes:
    """A JPEG without EXIF and XMP, a PNG without text, profile and EXIF; the rest, and other files, as they are."""
    try:
        if format == "JPEG":
            parts = [data[where] for kind, where in jpeg_segments(data) if kind != EXIF_OR_XMP]
            return data[:2] + b"".join(parts)
        if format == "PNG":
            return data[:8] + b"".join(
                data[where] for kind, where in png_chunks(data) if kind not in _PNG_METADATA
            )
    except struct.error:
        pass
    return data
