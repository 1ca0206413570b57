"""Whether a PNG holds all of its picture: Pillow takes one whose deflate stream ends early for a whole one.

In: the bytes of a file and the image opened from them. Out: nothing, or `PictureError`.
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from bbmr_shared.errors import PictureError
from bbmr_shared.images.png_webp import inflated_bytes

from .segments import png_chunks

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type → samples a pixel (PNG, third edition, 11.2.1)."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(left, top, step across, step down) of the passes of an interlaced PNG."""


def check_whole(data: bytes, image: Image.Image) -> None:
    """Raise `PictureError` where this is a PNG and its rows end before its header says they do."""
    if image.format != "PNG":
        return
    expected = _stream_bytes(data)
    view = memoryview(data)
    rows = (view[where.start + 8 : where.stop - 4] for kind, where in png_chunks(data) if kind == b"IDAT")
    try:
        found, _ = inflated_bytes(rows, expected)
    except zlib.error:
        raise PictureError("the picture is damaged: its rows cannot be unpacked") from None
    if found < expected:
        raise PictureError(f"the picture is cut short: {found} of {expected} bytes of its rows are there")


def _stream_bytes(data: bytes) -> int:
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * _CHANNELS.get(colour, 1)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
