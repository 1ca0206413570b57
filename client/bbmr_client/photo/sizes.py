"""The size of a picture from its first bytes, for the formats whose decoders allocate or decode when they open it.

In: the bytes of a WebP or JPEG XL file. Out: (width, height) in pixels, or None where the header says none.
"""

from __future__ import annotations

import struct

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MAX_BOXES = 1024
_ENOUGH = 64
"""Bytes of a codestream that its size is within."""


def webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas of a WebP file (RFC 9649, sections 2.5 to 2.7): Pillow allocates it when the file is opened."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """The size in a JPEG XL codestream (ISO/IEC 18181-1, D.2), bare or in its box: the plugin decodes on opening."""
    stream = data[:_ENOUGH] if data.startswith(b"\xff\x0a") else _jxl_stream(data)
    if not stream.startswith(b"\xff\x0a"):
        return None
    bits = _Bits(int.from_bytes(stream[2:32], "little"))
    small = bits.take(1) == 1
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = _JXL_RATIOS[ratio - 1]
    return height * across // down, height


class _Bits:
    """Bits of a number, lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        low = self._value & ((1 << count) - 1)
        self._value >>= count
        return low


def _side(bits: _Bits, small: bool) -> int:
    if small:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


def _jxl_stream(data: bytes) -> bytes:
    """The first bytes of the codestream, which may be cut into boxes of any length."""
    at, stream = 0, b""
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data) or len(stream) >= _ENOUGH:
            break
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + size if size else len(data)
        if end < at + head:
            break
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)
            stream += data[start : min(end, start + _ENOUGH)]
        at = end
    return stream
