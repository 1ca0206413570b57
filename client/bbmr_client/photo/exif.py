"""The EXIF block of a photo that has been set upright: orientation 1, sizes as they are now, no thumbnail of before.

In and out: the TIFF-structured block (TIFF 6.0, section 2; EXIF 2.32, section 4.5). It is changed in place, byte by
byte, because writing it anew would lose what the writer does not know (maker notes hold absolute offsets).
"""

from __future__ import annotations

import struct

from bbmr_shared.images.exif import ORDERS
from bbmr_shared.images.output import EXIF_MARKER

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_EXIF_DIRECTORY = 0x8769
_WIDTHS, _HEIGHTS = frozenset({0x0100, 0xA002}), frozenset({0x0101, 0xA003})
"""ImageWidth and PixelXDimension, ImageLength and PixelYDimension."""

TIFF_LAYOUT_TAGS = frozenset(
    {0x00FE, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x011C}
    | {0x013D, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x02BC, 0x0211, 0x0212}
    | {0x0213, 0x0214, 0x8773, 0x83BB, 0x8649, 0x935C}
)
"""Tags of a TIFF file that say how its own pixels lie (or carry XMP, ICC, layers): meaningless in another file."""

_SHORT, _LONG = 3, 4


def upright(block: bytes | None, turned: bool, size: tuple[int, int] | None = None) -> bytes | None:
    """The block without the "Exif" marker and with orientation 1; None where there is none or it is no TIFF block.

    turned: the pixels were turned, so the thumbnail (second directory), which was not, is unlinked, and the sizes
    that the block names become `size` (width, height), that of the upright picture.
    """
    if block is None:
        return None
    block = block.removeprefix(EXIF_MARKER)
    order = ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return None
    data = bytearray(block)
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        end = _rewrite(data, order, start, size if turned else None)
        if turned:
            struct.pack_into(order + "I", data, end, 0)
    except struct.error:
        return None  # a directory that points outside the block: nothing in it can be trusted
    return bytes(data)


def _rewrite(
    data: bytearray, order: str, start: int, size: tuple[int, int] | None, nested: bool = False
) -> int:
    """Rewrite one directory and the EXIF directory it links to; gives where its link to the next one lies."""
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        if number != 1:
            continue
        if tag == ORIENTATION and not nested:
            # As a short, as EXIF has it: Pillow also reads other types of number.
            struct.pack_into(order + "HHIHH", data, entry, tag, _SHORT, 1, 1, 0)
        elif size is not None and tag in _WIDTHS | _HEIGHTS:
            _put(data, order, entry, kind, size[0] if tag in _WIDTHS else size[1])
        elif tag == _EXIF_DIRECTORY and kind == _LONG and not nested:
            (inner,) = struct.unpack_from(order + "I", data, entry + 8)
            _rewrite(data, order, inner, size, nested=True)
    return start + 2 + 12 * int(count)


def _put(data: bytearray, order: str, entry: int, kind: int, value: int) -> None:
    if kind in (_SHORT, _LONG):
        struct.pack_into(order + ("H" if kind == _SHORT else "I"), data, entry + 8, value)
