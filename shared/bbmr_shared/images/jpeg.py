"""JPEG files (ITU-T T.81): the walk over their segments, and the check of JPEG originals before they are decoded.

Originals are checked here because libjpeg takes a file that ends early for a whole one, and does not limit the scans of
a progressive picture.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import JPEG_MAX_SCANS, MAX_CHUNKS

from .info import ImageInfo

SOI = b"\xff\xd8"
END, SCAN, EXIF_OR_XMP = 0xD9, 0xDA, 0xE1
NO_MARKER = -1
"""Stands for bytes where a marker is due and none is."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
READABLE = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive DCT with Huffman coding; not lossless, hierarchical or arithmetic."""
METADATA = (frozenset(range(0xE1, 0xF0)) | {0xFE}) - {0xEE}
"""APP1 to APP15 and comments; APP0 (JFIF) and APP14 (Adobe) say which colours the samples are."""
MODES = {1: "L", 3: "RGB"}
FILLED_MARKER = re.compile(rb"\xff++[^\xff]")
"""A marker; any number of FF may stand before its own (B.1.1.2)."""
REPEATED = re.compile(rb"\xff{2,}+")
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan: in its data FF is followed by 00, by a restart marker, or by another FF (B.1.1.5)."""


class JpegSegment(NamedTuple):
    """One segment: its marker, where it starts (without filling) and ends, and the length that it declares.

    `end` may lie behind the end of the file. A scan includes its data. END and NO_MARKER declare the length 0.
    """

    marker: int
    start: int
    end: int
    length: int


def jpeg_segments(data: bytes) -> Iterator[JpegSegment]:
    """Yields the segments behind SOI up to and with END, or to where no marker is; nothing of them is checked.

    The walk ends early where the file does; the last segment may then be cut off.
    """
    at, marker = len(SOI), 0
    while at < len(data) and marker not in (END, NO_MARKER):
        segment = _segment(data, at)
        marker, at = segment.marker, segment.end
        yield segment


def _segment(data: bytes, at: int) -> JpegSegment:
    filled = FILLED_MARKER.match(data, at)
    if filled is None:
        return JpegSegment(NO_MARKER, at, len(data), 0)
    marker, at = data[filled.end() - 1], filled.end()
    start = at - 2
    if marker == END:
        return JpegSegment(marker, start, at, 0)
    length = int.from_bytes(data[at : at + 2], "big")
    end = at + max(length, 2)
    if marker == SCAN:
        following = NEXT_MARKER.search(data, end)
        end = max(end, len(data)) if following is None else following.start()
    return JpegSegment(marker, start, end, length)


def probe_jpeg(data: bytes) -> ImageInfo:
    """Returns what a JPEG original declares.

    Raises `PlaneError` unless it has 8 bits a sample, is grey or of three colours, and ends with its EOI marker.
    """
    info: ImageInfo | None = None
    scans = 0
    for segment in _whole_segments(data):
        if segment.marker in FRAMES:
            if info is not None:
                raise PlaneError("a jpeg plane holds more than one picture")
            info = _frame(segment.marker, data[segment.start + 4 : segment.end])
        elif segment.marker == SCAN:
            scans += 1
            if info is None or scans > JPEG_MAX_SCANS:
                raise PlaneError(f"a jpeg plane has a scan before its picture, or more than {JPEG_MAX_SCANS}")
        elif segment.marker == END and segment.end != len(data):
            raise PlaneError("a jpeg plane has bytes after its end")
    if info is None or not scans:
        raise PlaneError("a jpeg plane holds no picture")
    return info


def bare_jpeg(data: bytes) -> bytes:
    """Returns the same picture without metadata and filling: Pillow reads those byte by byte, and keeps copies.

    Filling inside a scan means nothing either, and libjpeg starts at its beginning again with each piece that
    Pillow hands on: 200 MB of it took four minutes. Raises `PlaneError` if the file is not whole.
    """
    parts = [data[:2]]
    for segment in _whole_segments(data):
        if segment.marker == SCAN:
            parts.append(REPEATED.sub(b"\xff", data[segment.start : segment.end]))
        elif segment.marker not in METADATA:
            parts.append(data[segment.start : segment.end])
    return b"".join(parts)


def _whole_segments(data: bytes) -> Iterator[JpegSegment]:
    """The segments of a file that is whole, has no more than `MAX_CHUNKS`, and ends with END."""
    if not data.startswith(SOI):
        raise PlaneError("a jpeg plane does not start as JPEG does")
    marker = 0
    for count, segment in enumerate(jpeg_segments(data)):
        if count == MAX_CHUNKS:
            raise PlaneError(f"a jpeg plane has more than {MAX_CHUNKS} segments")
        _check_segment(segment, len(data))
        marker = segment.marker
        yield segment
    if marker != END:
        raise PlaneError("a jpeg plane is truncated")


def _check_segment(segment: JpegSegment, size: int) -> None:
    marker, end = segment.marker, segment.end
    if marker == NO_MARKER:
        raise PlaneError("a jpeg plane is damaged (no marker where one is due)")
    if marker < min(FRAMES) or 0xD0 <= marker < END:
        raise PlaneError(f"a jpeg plane is damaged (the marker {marker:02X} has no place there)")
    if end > size or (
        marker == SCAN and end == size
    ):  # behind a whole scan is at least the marker of the end
        raise PlaneError("a jpeg plane is truncated")
    if marker != END and segment.length < 2:
        raise PlaneError("a jpeg plane is damaged (a segment is shorter than its length)")


def _frame(marker: int, body: bytes) -> ImageInfo:
    if marker not in READABLE:
        raise PlaneError("a jpeg plane is lossless, hierarchical or arithmetic-coded")
    if len(body) < 6:
        raise PlaneError("a jpeg plane is damaged (its frame header is short)")
    depth, height, width, components = struct.unpack_from(">BHHB", body)
    if depth != 8 or components not in MODES:
        raise PlaneError("a jpeg plane is not 8-bit grey or of three colours")
    return ImageInfo(width, height, MODES[components])
