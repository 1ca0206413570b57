"""WebP files (RFC 9649): the walk over their chunks, their size, and the check of WebP planes before they are decoded.

Sizes are read here because Pillow allocates the canvas of a WebP file when it opens it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import MAX_CHUNKS

from .bits import BitReader
from .info import ImageInfo, Size

CANVAS, LOSSY, LOSSLESS = b"VP8X", b"VP8 ", b"VP8L"
ANIMATED, WITH_ALPHA = 0x02, 0x10
"""Flags of a VP8X chunk (2.7.1)."""
SIZE_BYTES = 10
"""Of the content of a chunk that names a size, so many bytes are enough to read it."""


class WebpChunk(NamedTuple):
    """One chunk: its kind, and where its content starts and ends; `end` is as declared, without the padding byte."""

    kind: bytes
    start: int
    end: int

    @property
    def next(self) -> int:
        """Where the chunk behind it starts: chunks have an even length."""
        return self.end + (self.end - self.start & 1)


def webp_chunks(data: bytes) -> Iterator[WebpChunk]:
    """Yields the chunks behind the RIFF header; nothing of them is checked.

    The walk ends early where the file does; the last chunk may then be cut off.
    """
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        chunk = WebpChunk(kind, at + 8, at + 8 + size)
        yield chunk
        at = chunk.next


def webp_size(data: bytes) -> Size | None:
    """Returns (width, height) of the canvas of a WebP file, or None if its first chunk names no size."""
    first = next(webp_chunks(data), None)
    if first is None:
        return None
    start = data[first.start : first.start + SIZE_BYTES]
    return declared_size(first.kind, start) if len(start) == SIZE_BYTES else None


def declared_size(kind: bytes, body: bytes) -> Size | None:
    """Returns the size that the content of a VP8X, VP8 or VP8L chunk names; None for other chunks.

    `body` has at least 10 bytes, of VP8L at least 5.
    """
    if kind == CANVAS:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == LOSSLESS:
        bits = BitReader(body[1:5], "little")
        return 1 + bits.take(14), 1 + bits.take(14)
    if kind == LOSSY:
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def probe_webp(data: bytes) -> ImageInfo:
    """Returns what a WebP plane, simple or extended, declares.

    Raises `PlaneError` unless it is as long as its RIFF header says and holds one picture of its own size, or an
    animation.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise PlaneError("a webp plane does not start as WebP does")
    if len(data) != struct.unpack_from("<I", data, 4)[0] + 8:
        raise PlaneError("a webp plane is not as long as it says")
    canvas: Size | None = None
    frame: ImageInfo | None = None
    animated = alpha = False
    for chunk in _whole_chunks(data):
        start = data[chunk.start : min(chunk.end, chunk.start + SIZE_BYTES)]
        if chunk.kind == CANVAS and len(start) == SIZE_BYTES and canvas is None and frame is None:
            animated, alpha = bool(start[0] & ANIMATED), bool(start[0] & WITH_ALPHA)
            canvas = declared_size(CANVAS, start)
        elif chunk.kind in (LOSSY, LOSSLESS):
            if frame is not None:
                raise PlaneError("a webp plane holds more than one picture")
            frame = _lossy(start) if chunk.kind == LOSSY else _lossless(start)
        elif chunk.kind in (b"ANIM", b"ANMF"):
            animated = True
        elif chunk.kind == b"ALPH":
            alpha = True
    if animated:
        if canvas is None:
            raise PlaneError("a webp plane is damaged (frames without a canvas)")
        return ImageInfo(*canvas, "RGB", frames=2)
    if frame is None or canvas not in (None, frame.size):
        raise PlaneError("a webp plane does not hold exactly one picture of its own size")
    return ImageInfo(frame.width, frame.height, "RGBA" if alpha else frame.mode)


def _whole_chunks(data: bytes) -> Iterator[WebpChunk]:
    """The chunks of a file that is whole and has no more than `MAX_CHUNKS`."""
    at = 12
    for count, chunk in enumerate(webp_chunks(data)):
        if count == MAX_CHUNKS:
            raise PlaneError(f"a webp plane has more than {MAX_CHUNKS} chunks")
        at = chunk.next
        if at > len(data):
            break
        yield chunk
    if at != len(data):
        raise PlaneError("a webp plane is truncated")


def _lossy(start: bytes) -> ImageInfo:
    """RFC 6386, 9.1."""
    size = declared_size(LOSSY, start) if len(start) == SIZE_BYTES and start[3:6] == b"\x9d\x01\x2a" else None
    if size is None:
        raise PlaneError("a webp plane has a damaged VP8 header")
    return ImageInfo(*size, "RGB")


def _lossless(start: bytes) -> ImageInfo:
    """RFC 9649, 3.4; the bit behind the size says that alpha is used."""
    size = declared_size(LOSSLESS, start) if len(start) >= 5 and start[0] == 0x2F else None
    if size is None:
        raise PlaneError("a webp plane has a damaged VP8L header")
    return ImageInfo(*size, "RGBA" if start[4] & 0x10 else "RGB")
