"""Returns freed memory to the system, because glibc does not do so by itself in a process with many threads."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

LARGE_PIXELS = 4_000_000
"""After a picture of at least this size, a pass over the whole heap (some ms) is worth its time."""


def _find_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library, such as musl
        return None
    return trim


_TRIM = _find_trim()


def trim_after(pixels: int) -> None:
    """Return the memory of a picture of so many pixels to the system, if the picture was large and the system can."""
    if _TRIM is not None and pixels >= LARGE_PIXELS:
        _TRIM(0)
