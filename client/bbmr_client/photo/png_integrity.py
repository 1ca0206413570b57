"""Checks that a PNG holds all of its picture: Pillow takes one whose deflate stream ends early for a whole one."""

from __future__ import annotations

import zlib

from PIL import Image

from bbmr_shared.errors import PictureError
from bbmr_shared.images.png import inflated_bytes, png_stream, read_png_header


def check_whole(data: bytes, image: Image.Image) -> None:
    """Raise `PictureError` if `data` is a PNG and its rows end before its header says that they do.

    `image` is what was opened from `data`.
    """
    if image.format != "PNG":
        return
    expected = read_png_header(data).stream_bytes
    try:
        total, _ = inflated_bytes(png_stream(data), expected)
    except zlib.error:
        raise PictureError("the picture is damaged: its rows cannot be unpacked") from None
    if total < expected:
        raise PictureError(f"the picture is cut short: {total} of {expected} bytes of its rows are there")
