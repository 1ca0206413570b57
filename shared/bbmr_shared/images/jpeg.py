"""What a JPEG file says it is, read from its markers alone, without decoding it.

In: the bytes of a JPEG file. Out: `Facts`; or the same picture without what decoding does not need; or `PlaneError`
where the file is not whole, or is of a kind that not every decoder reads. The markers are walked here because
libjpeg takes a file that ends early for a whole one, and has no bound on the scans of a progressive picture.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import JPEG_MAX_SCANS, MAX_CHUNKS

from .png_webp import Facts

START, END, SCAN = 0xD8, 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
READABLE = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive DCT with Huffman coding; not lossless, hierarchical or arithmetic."""
METADATA = (frozenset(range(0xE1, 0xF0)) | {0xFE}) - {0xEE}
"""APP1 to APP15 and comments; APP0 (JFIF) and APP14 (Adobe) say which colours the samples are."""
MODES = {1: "L", 3: "RGB"}
FILLING = re.compile(rb"\xff++[^\xff]")
"""A marker; any number of FF may stand before its own."""
REPEATED = re.compile(rb"\xff{2,}+")
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan: in its data FF is followed by 00, by a restart marker, or by another FF."""


def probe_jpeg(data: bytes) -> Facts:
    """A JPEG of 8 bits per sample, grey or of three colours, that ends with its EOI marker."""
    facts: Facts | None = None
    scans = 0
    for kind, start, end in _segments(data):
        if kind in FRAMES:
            if facts is not None:
                raise PlaneError("a jpeg plane holds more than one picture")
            facts = _frame(kind, data[start + 4 : end])
        elif kind == SCAN:
            scans += 1
            if facts is None or scans > JPEG_MAX_SCANS:
                raise PlaneError(f"a jpeg plane has a scan before its picture, or more than {JPEG_MAX_SCANS}")
        elif kind == END and end != len(data):
            raise PlaneError("a jpeg plane has bytes after its end")
    if facts is None or not scans:
        raise PlaneError("a jpeg plane holds no picture")
    return facts


def bare_jpeg(data: bytes) -> bytes:
    """The same picture without metadata and filling: Pillow reads those byte by byte, and keeps copies.

    Filling inside a scan means nothing either, and libjpeg starts at its beginning again with each piece that
    Pillow hands on: 200 MB of it took four minutes.
    """
    parts = [data[:2]]
    for kind, start, end in _segments(data):
        if kind == SCAN:
            parts.append(REPEATED.sub(b"\xff", data[start:end]))
        elif kind not in METADATA:
            parts.append(data[start:end])
    return b"".join(parts)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment after SOI, a scan with its data, up to EOI."""
    if data[:2] != bytes([0xFF, START]):
        raise PlaneError("a jpeg plane does not start as JPEG does")
    at = 2
    for _ in range(MAX_CHUNKS):
        kind, start, at = _segment(data, at)
        if kind == SCAN:
            end = NEXT_MARKER.search(data, at)
            if end is None:
                raise PlaneError("a jpeg plane is truncated")
            at = end.start()
        yield kind, start, at
        if kind == END:
            return
    raise PlaneError(f"a jpeg plane has more than {MAX_CHUNKS} segments")


def _segment(data: bytes, at: int) -> tuple[int, int, int]:
    """The marker at or after `at`, where it starts, and where the segment ends that it heads."""
    if at >= len(data):
        raise PlaneError("a jpeg plane is truncated")
    filled = FILLING.match(data, at)
    if filled is None:
        raise PlaneError("a jpeg plane is damaged (no marker where one is due)")
    kind, at = data[filled.end() - 1], filled.end()
    start = at - 2
    if kind == END:
        return kind, start, at
    if kind < min(FRAMES) or 0xD0 <= kind <= START:
        raise PlaneError(f"a jpeg plane is damaged (the marker {kind:02X} has no place there)")
    size = int.from_bytes(data[at : at + 2], "big")
    if at + max(size, 2) > len(data):
        raise PlaneError("a jpeg plane is truncated")
    if size < 2:
        raise PlaneError("a jpeg plane is damaged (a segment is shorter than its length)")
    return kind, start, at + size


def _frame(kind: int, body: bytes) -> Facts:
    if kind not in READABLE:
        raise PlaneError("a jpeg plane is lossless, hierarchical or arithmetic-coded")
    if len(body) < 6:
        raise PlaneError("a jpeg plane is damaged (its frame header is short)")
    depth, height, width, components = struct.unpack_from(">BHHB", body)
    if depth != 8 or components not in MODES:
        raise PlaneError("a jpeg plane is not 8-bit grey or of three colours")
    return Facts(width, height, MODES[components])
