"""Whether an EXIF block is bounded: what its directories point at, taken together, is no longer than the block.

In: a block from the TIFF header on (TIFF 6.0, section 2). Out: yes or no. Entries may share bytes, so that 1 MB can
name 17 GB; Pillow writes a warning for each of them.
"""

from __future__ import annotations

import struct

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Type → bytes of one value."""
DIRECTORIES = frozenset({0x8769, 0x8825, 0xA005})
"""Tags that point at a directory: EXIF, GPS, interoperability."""
INLINE = 4
"""A value of at most so many bytes lies in its entry."""


def is_bounded(block: bytes) -> bool:
    """Whether the entries of all directories together have at most as many bytes as the block."""
    order = ORDERS.get(block[:4])
    if order is None:
        return False
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        waiting, seen, total = [first], set[int](), 0
        while waiting:
            at = waiting.pop()
            if at in seen:
                return False
            seen.add(at)
            (count,) = struct.unpack_from(order + "H", block, at)
            for number in range(count):
                tag, kind, values, value = struct.unpack_from(order + "HHII", block, at + 2 + 12 * number)
                size = SIZES.get(kind, 1) * values
                total += 12 + (size if size > INLINE else 0)
                if total > len(block):
                    return False
                if tag in DIRECTORIES:
                    waiting.append(value)
    except struct.error:
        return False
    return True
