"""The EXIF block of a photo that has been set upright: orientation 1, and no thumbnail of how it was before.

In and out: the TIFF-structured block (TIFF 6.0, section 2; EXIF 2.32, section 4.5). It is changed in place, byte by
byte, because writing it anew would lose what the writer does not know (maker notes hold absolute offsets).
"""

from __future__ import annotations

import struct

from bbmr_shared.output import EXIF_MARKER

ORIENTATION = 0x0112

TIFF_LAYOUT_TAGS = frozenset(
    {0x00FE, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x011C}
    | {0x013D, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x02BC, 0x0211, 0x0212}
    | {0x0213, 0x0214, 0x8773, 0x83BB, 0x8649}
)
"""Tags of a TIFF file that say how its own pixels lie (or carry XMP and ICC): meaningless in another file."""


def upright(block: bytes | None, turned: bool) -> bytes | None:
    """The block without the "Exif" marker and with orientation 1; None where there is none or it is no TIFF block.

    turned: the pixels were turned, so the thumbnail (second directory), which was not, is unlinked.
    """
    if block is None:
        return None
    block = block.removeprefix(EXIF_MARKER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    data = bytearray(block)
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            if tag == ORIENTATION and number == 1:
                struct.pack_into(order + ("H" if kind == 3 else "I"), data, entry + 8, 1)
        if turned:
            struct.pack_into(order + "I", data, start + 2 + 12 * count, 0)
    except struct.error:
        return None  # a directory that points outside the block: nothing in it can be trusted
    return bytes(data)
