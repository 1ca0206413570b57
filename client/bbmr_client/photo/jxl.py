"""The size of a JPEG XL picture (ISO/IEC 18181-1, D.2): its plugin decodes the picture when it opens a file."""

from __future__ import annotations

from itertools import islice

from bbmr_shared.images.bits import BitReader
from bbmr_shared.images.boxes import boxes

CODESTREAM = b"\xff\x0a"

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MAX_BOXES = 1024
_HEADER_BYTES = 32
"""More bytes of a codestream than its size takes."""


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Returns (width, height) as a codestream, bare or in boxes, declares them; None if there is no codestream."""
    stream = data[:_HEADER_BYTES] if data.startswith(CODESTREAM) else _boxed_stream(data)
    if not stream.startswith(CODESTREAM):
        return None
    # What a short file lacks counts as zeros; the decoder will refuse it.
    bits = BitReader(stream[len(CODESTREAM) : _HEADER_BYTES].ljust(_HEADER_BYTES, b"\0"), "little")
    small = bits.take(1) == 1
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _side(bits: BitReader, small: bool) -> int:
    if small:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


def _boxed_stream(data: bytes) -> bytes:
    """The first bytes of the codestream, which may be cut into boxes of any length."""
    stream = b""
    for box in islice(boxes(data), _MAX_BOXES):
        if len(stream) >= _HEADER_BYTES or box.end < box.start:
            break
        if box.kind in (b"jxlc", b"jxlp"):
            start = box.start + (4 if box.kind == b"jxlp" else 0)  # a part starts with its number
            stream += data[start : min(box.end, start + _HEADER_BYTES)]
    return stream
