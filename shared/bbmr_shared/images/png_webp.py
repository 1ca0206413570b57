"""What a coded picture says it is, read from its headers alone, without decoding or allocating it.

In: the bytes of a PNG or WebP file. Out: `Facts`, or `PlaneError` where the file is not whole or not
of that format. PNG and WebP are walked chunk by chunk here, because Pillow allocates WebP's canvas when it
opens a file, and takes a PNG whose deflate stream ends early for a whole one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import INFLATE_STEP, MAX_CHUNKS

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_NEEDED = (b"IHDR", b"IDAT", b"IEND")


@dataclass(frozen=True)
class Facts:
    """Size in pixels, Pillow's mode ("RGB", "L", "RGBA" …) and number of frames of a coded picture."""

    width: int
    height: int
    mode: str
    frames: int = 1


def probe_png(data: bytes) -> Facts:
    """A PNG of 8 bits per sample, grey or RGB, not interlaced, that ends with its IEND chunk."""
    if data[:8] != PNG_SIGNATURE:
        raise PlaneError("a png plane does not start as PNG does")
    facts: Facts | None = None
    kind = b""
    for kind, body in _png_chunks(data):
        if facts is None:
            if kind != b"IHDR" or len(body) != 13:
                raise PlaneError("a png plane does not start with its IHDR chunk")
            facts = _png_header(body)
        elif kind == b"IHDR":
            raise PlaneError("a png plane has a second header")
        elif kind == b"acTL":
            facts = Facts(facts.width, facts.height, facts.mode, frames=2)
    if facts is None or kind != b"IEND":
        raise PlaneError("a png plane does not end with its IEND chunk")
    return facts


def check_png_stream(data: bytes, facts: Facts) -> None:
    """Raise `PlaneError` unless this PNG's deflate stream holds exactly the picture its header declares."""
    expected = facts.height * (1 + facts.width * len(facts.mode))
    try:
        found, ended = inflated_bytes((body for kind, body in _png_chunks(data) if kind == b"IDAT"), expected)
    except zlib.error as error:
        raise PlaneError(f"a png plane is damaged ({error})") from None
    if found != expected or not ended:
        raise PlaneError(f"a png plane does not hold exactly {facts.width}×{facts.height} samples")


def inflated_bytes(pieces: Iterable[memoryview], most: int) -> tuple[int, bool]:
    """How many bytes a zlib stream in `pieces` holds, counted until they are more than `most`, and whether it ended.

    Raises:
        zlib.error: it is damaged.
    """
    found, stream = 0, zlib.decompressobj()
    for piece in pieces:
        # In steps: zlib copies what it has not yet read, each time.
        for start in range(0, len(piece), INFLATE_STEP):
            rest = bytes(piece[start : start + INFLATE_STEP])
            while rest and not stream.eof and found <= most:
                found += len(stream.decompress(rest, INFLATE_STEP))
                rest = stream.unconsumed_tail
    while not stream.eof and found <= most:
        more = len(stream.decompress(b"", INFLATE_STEP))
        if not more:
            break
        found += more
    return found, stream.eof


def bare_png(data: bytes) -> bytes:
    """The same picture without what decoding does not need: Pillow inflates profiles and texts, each on its own."""
    parts, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    for kind, body in _png_chunks(data):
        start, at = at, at + 12 + len(body)
        if kind in PNG_NEEDED:
            parts.append(data[start:at])
    return b"".join(parts)


def probe_webp(data: bytes) -> Facts:
    """A WebP file, simple or extended, that is as long as its RIFF header says."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise PlaneError("a webp plane does not start as WebP does")
    if len(data) != struct.unpack_from("<I", data, 4)[0] + 8:
        raise PlaneError("a webp plane is not as long as it says")
    canvas: Facts | None = None
    frame: Facts | None = None
    animated = alpha = False
    for kind, body in _riff_chunks(data):
        if kind == b"VP8X" and len(body) >= 10 and canvas is None and frame is None:
            flags, *_ = body
            animated, alpha = bool(flags & 0x02), bool(flags & 0x10)
            canvas = Facts(1 + _u24(body, 4), 1 + _u24(body, 7), "RGB")
        elif kind in (b"VP8 ", b"VP8L"):
            if frame is not None:
                raise PlaneError("a webp plane holds more than one picture")
            frame = _vp8(body) if kind == b"VP8 " else _vp8l(body)
        elif kind in (b"ANIM", b"ANMF"):
            animated = True
        elif kind == b"ALPH":
            alpha = True
    if animated:
        if canvas is None:
            raise PlaneError("a webp plane is damaged (frames without a canvas)")
        return Facts(canvas.width, canvas.height, "RGB", frames=2)
    if frame is None or (canvas and (canvas.width, canvas.height) != (frame.width, frame.height)):
        raise PlaneError("a webp plane does not hold exactly one picture of its own size")
    return Facts(frame.width, frame.height, "RGBA" if alpha else frame.mode)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    at = len(PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise PlaneError("a png plane is truncated")
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            raise PlaneError("a png plane is truncated")
        yield kind, view[at + 8 : at + 8 + size]
        at = end
        if kind == b"IEND":
            if at != len(data):
                raise PlaneError("a png plane has bytes after its end")
            return
    raise PlaneError(f"a png plane has more than {MAX_CHUNKS} chunks")


def _png_header(body: memoryview) -> Facts:
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if depth != 8 or colour not in (0, 2) or compression or filtering or interlace:
        raise PlaneError("a png plane is not 8-bit grey or RGB without interlacing")
    return Facts(width, height, "RGB" if colour == 2 else "L")


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    at = 12
    for _ in range(MAX_CHUNKS):
        if at == len(data):
            return
        if at + 8 > len(data):
            raise PlaneError("a webp plane is truncated")
        (size,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + size + (size & 1)
        if end > len(data):
            raise PlaneError("a webp plane is truncated")
        yield data[at : at + 4], view[at + 8 : at + 8 + size]
        at = end
    raise PlaneError(f"a webp plane has more than {MAX_CHUNKS} chunks")


def _vp8(body: memoryview) -> Facts:
    if len(body) < 10 or bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise PlaneError("a webp plane has a damaged VP8 header")
    width, height = struct.unpack_from("<HH", body, 6)
    return Facts(width & 0x3FFF, height & 0x3FFF, "RGB")


def _vp8l(body: memoryview) -> Facts:
    if len(body) < 5 or body[0] != 0x2F:
        raise PlaneError("a webp plane has a damaged VP8L header")
    (bits,) = struct.unpack_from("<I", body, 1)
    return Facts((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, "RGBA" if bits >> 28 & 1 else "RGB")


def _u24(body: memoryview, at: int) -> int:
    return int.from_bytes(body[at : at + 3], "little")
