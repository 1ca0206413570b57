"""PNG files (W3C PNG, third edition): the walk over their chunks, and the check of PNG planes before they are decoded.

Planes are checked here because Pillow takes a PNG whose deflate stream ends early for a whole one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import INFLATE_STEP, MAX_CHUNKS

from .info import ImageInfo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = frozenset({b"IHDR", b"IDAT", b"IEND"})
"""The chunks that a grey or RGB picture is decoded from."""
SAMPLES_PER_PIXEL = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type (11.2.1)."""
WHOLE_PICTURE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(left, top, step across, step down) of the passes of an interlaced PNG (8.1)."""


class PngChunk(NamedTuple):
    """One chunk: its kind, and where it starts and ends, length and checksum included.

    `end` is as declared, and may lie behind the end of the file.
    """

    kind: bytes
    start: int
    end: int

    @property
    def body(self) -> slice:
        """Where the content lies."""
        return slice(self.start + 8, self.end - 4)


class PngHeader(NamedTuple):
    """The fields of IHDR (11.2.1)."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int

    @property
    def stream_bytes(self) -> int:
        """Bytes of the inflated picture: its rows, each with the byte that names its filter."""
        bits = self.depth * SAMPLES_PER_PIXEL.get(self.colour, 1)
        total = 0
        for left, top, across, down in ADAM7 if self.interlace else WHOLE_PICTURE:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * bits + 7) // 8)
        return total


def png_chunks(data: bytes) -> Iterator[PngChunk]:
    """Yields the chunks up to and with IEND; nothing of them is checked.

    The walk ends early where the file does; the last chunk may then be cut off.
    """
    at, kind = len(SIGNATURE), b""
    while at + 8 <= len(data) and kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        yield PngChunk(kind, at, end)
        at = end


def read_png_header(data: bytes) -> PngHeader:
    """Returns the IHDR fields from their usual place. Raises `struct.error` if the file ends before."""
    return PngHeader._make(struct.unpack_from(">IIBBBBB", data, len(SIGNATURE) + 8))


def inflated_bytes(pieces: Iterable[memoryview], most: int) -> tuple[int, bool]:
    """Returns how many bytes a zlib stream in `pieces` holds, and whether it ended.

    It is not inflated further than to the first step in which there are more than `most`.

    Raises:
        zlib.error: the stream is damaged.
    """
    total, stream = 0, zlib.decompressobj()
    for piece in pieces:
        # In steps: zlib copies what it has not yet read, each time.
        for start in range(0, len(piece), INFLATE_STEP):
            rest = bytes(piece[start : start + INFLATE_STEP])
            while rest and not stream.eof and total <= most:
                total += len(stream.decompress(rest, INFLATE_STEP))
                rest = stream.unconsumed_tail
    while not stream.eof and total <= most:
        more = len(stream.decompress(b"", INFLATE_STEP))
        if not more:
            break
        total += more
    return total, stream.eof


def png_stream(data: bytes) -> Iterator[memoryview]:
    """Yields the pieces of the deflate stream: the content of every IDAT chunk."""
    view = memoryview(data)
    return (view[chunk.body] for chunk in png_chunks(data) if chunk.kind == b"IDAT")


def probe_png(data: bytes) -> ImageInfo:
    """Returns what a PNG plane declares.

    Raises `PlaneError` unless it is 8-bit grey or RGB, not interlaced, and ends with its IEND chunk.
    """
    if not data.startswith(SIGNATURE):
        raise PlaneError("a png plane does not start as PNG does")
    info: ImageInfo | None = None
    frames = 1
    for chunk in _whole_chunks(data):
        if info is None:
            if chunk.kind != b"IHDR" or chunk.end - chunk.start != 12 + 13:
                raise PlaneError("a png plane does not start with its IHDR chunk")
            info = _plane_info(read_png_header(data))
        elif chunk.kind == b"IHDR":
            raise PlaneError("a png plane has a second header")
        elif chunk.kind == b"acTL":
            frames = 2
    assert info is not None, "a whole file has chunks"
    return ImageInfo(info.width, info.height, info.mode, frames)


def check_png_stream(data: bytes, info: ImageInfo) -> None:
    """Raise `PlaneError` unless the deflate stream of this PNG plane holds exactly the picture that `info` declares."""
    expected = info.height * (1 + info.width * len(info.mode))
    try:
        total, ended = inflated_bytes(png_stream(data), expected)
    except zlib.error as error:
        raise PlaneError(f"a png plane is damaged ({error})") from None
    if total != expected or not ended:
        raise PlaneError(f"a png plane does not hold exactly {info.width}×{info.height} samples")


def bare_png(data: bytes) -> bytes:
    """Returns the same picture without the chunks that decoding does not need.

    Pillow inflates profiles and texts when it opens a file, each on its own. Raises `PlaneError` if it is not whole.
    """
    needed = (data[chunk.start : chunk.end] for chunk in _whole_chunks(data) if chunk.kind in NEEDED)
    return SIGNATURE + b"".join(needed)


def _whole_chunks(data: bytes) -> Iterator[PngChunk]:
    """The chunks of a file that is whole, has no more than `MAX_CHUNKS`, and ends with IEND."""
    for count, chunk in enumerate(png_chunks(data)):
        if count == MAX_CHUNKS:
            raise PlaneError(f"a png plane has more than {MAX_CHUNKS} chunks")
        if chunk.end > len(data):
            break
        yield chunk
        if chunk.kind == b"IEND":
            if chunk.end != len(data):
                raise PlaneError("a png plane has bytes after its end")
            return
    raise PlaneError("a png plane is truncated")


def _plane_info(header: PngHeader) -> ImageInfo:
    unusual = header.compression or header.filtering or header.interlace
    if header.depth != 8 or header.colour not in (0, 2) or unusual:
        raise PlaneError("a png plane is not 8-bit grey or RGB without interlacing")
    return ImageInfo(header.width, header.height, "RGB" if header.colour == 2 else "L")
