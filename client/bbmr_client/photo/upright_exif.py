"""Makes an EXIF block fit a photo that was set upright: orientation 1, its new size, no thumbnail.

The block is changed in place, byte by byte: writing it anew would lose what the writer does not know (maker notes hold
absolute offsets).
"""

from __future__ import annotations

import struct

from bbmr_shared.images.exif import (
    EXIF_DIRECTORY,
    EXIF_MARKER,
    ExifEntry,
    byte_order,
    entries,
    entries_span,
    first_directory,
)

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_WIDTHS, _HEIGHTS = frozenset({0x0100, 0xA002}), frozenset({0x0101, 0xA003})
"""ImageWidth and PixelXDimension, ImageLength and PixelYDimension."""

TIFF_LAYOUT_TAGS = frozenset(
    {0x00FE, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x011C}
    | {0x013D, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x02BC, 0x0211, 0x0212}
    | {0x0213, 0x0214, 0x8773, 0x83BB, 0x8649, 0x935C}
)
"""Tags of a TIFF file that describe its own pixels (or carry XMP, ICC, layers): they mean nothing in another file."""

_SHORT, _LONG = 3, 4


def upright(block: bytes | None, turned: bool, size: tuple[int, int] | None = None) -> bytes | None:
    """Returns the block without the "Exif" marker and with orientation 1; None if there is none or it is damaged.

    Args:
        block: from the marker or from the TIFF header on.
        turned: the pixels were turned. The thumbnail (second directory), which was not, is then unlinked, and the
            sizes that the block names become `size`.
        size: (width, height) of the upright picture.
    """
    if block is None:
        return None
    data = bytearray(block.removeprefix(EXIF_MARKER))
    order = byte_order(data)
    if order is None:
        return None
    try:
        first = first_directory(data, order)
        _rewrite(data, order, first, size if turned else None)
        if turned:
            _, link = entries_span(data, order, first)
            struct.pack_into(order + "I", data, link, 0)
    except struct.error:
        return None  # a directory that points outside the block: nothing in it can be trusted
    return bytes(data)


def _rewrite(
    data: bytearray, order: str, directory: int, size: tuple[int, int] | None, nested: bool = False
) -> None:
    """Set orientation and sizes in one directory and in the EXIF directory that it links to."""
    for entry in entries(data, order, directory):
        if entry.values != 1:
            continue
        if entry.tag == ORIENTATION and not nested:
            # As a short, as EXIF has it: Pillow also reads other types of number.
            struct.pack_into(order + "HHIHH", data, entry.at, entry.tag, _SHORT, 1, 1, 0)
        elif size is not None and entry.tag in _WIDTHS | _HEIGHTS:
            _put(data, order, entry, size[0] if entry.tag in _WIDTHS else size[1])
        elif entry.tag == EXIF_DIRECTORY and entry.type == _LONG and not nested:
            if entry.value is None:
                raise struct.error("the block ends inside an entry")
            _rewrite(data, order, entry.value, size, nested=True)


def _put(data: bytearray, order: str, entry: ExifEntry, value: int) -> None:
    if entry.type in (_SHORT, _LONG):
        struct.pack_into(order + ("H" if entry.type == _SHORT else "I"), data, entry.at + 8, value)
