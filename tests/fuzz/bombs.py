"""Small picture files that make a decoder work for a long time; the reader must refuse them, or read them at low cost.

The times were measured with Pillow 12, before the reader walked these files itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator


def avif_with_size(data: bytes, width: int, height: int) -> bytes:
    """An AVIF whose box declares another size than its AV1 data has: libavif decodes first, then scales."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def avif_with_items(data: bytes, count: int) -> bytes:
    """An AVIF with more items, all empty: libavif's time goes with their square (60,000, 1.5 MB: 6 s)."""
    return _inside(data, b"meta", 4, lambda meta: _inside(meta, b"iinf", 0, lambda iinf: _items(iinf, count)))


def avif_of_one_payload(payload: bytes, size: tuple[int, int], count: int) -> bytes:
    """An AVIF of `count` coded pictures that all lie on the same AV1 data: each is walked by itself (48 kB: 1.5 s)."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, kind) + body

    ids = range(1, count + 1)
    head = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")

    def meta(offset: int) -> bytes:
        entries = (box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, b"av01")) for number in ids)
        places = (struct.pack(">HHHII", number, 0, 1, offset, len(payload)) for number in ids)
        properties = box(b"ipco", box(b"ispe", struct.pack(">III", 0, *size)))
        links = struct.pack(">II", 0, count) + b"".join(struct.pack(">HBB", number, 1, 1) for number in ids)
        boxes = (
            box(b"pitm", struct.pack(">IH", 0, 1)),
            box(b"iinf", struct.pack(">IH", 0, count) + b"".join(entries)),
            box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, count) + b"".join(places)),
            box(b"iprp", properties + box(b"ipma", links)),
        )
        return box(b"meta", bytes(4) + b"".join(boxes))

    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", payload)


def jpeg_with_filling(data: bytes, size: int) -> bytes:
    """A JPEG with `size` bytes of FF before its first marker: Pillow reads them one by one (4 MB: 3.4 s)."""
    return data[:2] + b"\xff" * size + data[2:]


def jpeg_with_filled_scan(data: bytes, size: int) -> bytes:
    """A JPEG with `size` bytes of FF at the end of its scan: time by their square (200 MB: four minutes)."""
    return data[:-2] + b"\xff" * size + data[-2:]


def jpeg_with_segments(data: bytes, count: int) -> bytes:
    """A JPEG with empty segments: Pillow keeps each of them (a million, 4 MB: 3.3 s and 137 MB)."""
    return data[:2] + b"\xff\xe1\0\2" * count + data[2:]


def jpeg_with_scans(progressive: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each goes over the whole picture."""
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    return progressive[:-2] + scan * count + progressive[-2:]


def png_with_chunks(data: bytes, kind: bytes, body: bytes, count: int = 1) -> bytes:
    """A PNG with chunks after its IHDR."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk * count + data[33:]


def png_profile(size: int) -> bytes:
    """The body of an iCCP chunk that inflates to `size` bytes (a thousand of a MiB in 1 MB of PNG: 2 s)."""
    return b"a\0\0" + zlib.compress(bytes(size), 9)


def png_text(size: int) -> bytes:
    """The body of an iTXt chunk that inflates to `size` bytes."""
    return b"a\0\1\0\0\0" + zlib.compress(bytes(size), 9)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _inside(data: bytes, kind: bytes, head: int, change: Callable[[bytes], bytes]) -> bytes:
    """The boxes of `data` with the body of one of them changed; `head` bytes of it are left as they are."""
    made = b""
    for name, body in _boxes(data):
        changed = body[:head] + change(body[head:]) if name == kind else body
        made += struct.pack(">I4s", len(changed) + 8, name) + changed
    return made


def _items(iinf: bytes, count: int) -> bytes:
    (old,) = struct.unpack_from(">H", iinf, 4)
    entries = b"".join(
        struct.pack(">I4sIHH4s", 21 + 4, b"infe", 2 << 24, 1000 + number, 0, b"mime") + b"\0a/b\0"
        for number in range(count)
    )
    return iinf[:4] + struct.pack(">H", old + count) + iinf[6:] + entries
