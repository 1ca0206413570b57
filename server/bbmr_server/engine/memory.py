"""Memory that is free goes back to the system: glibc keeps what many threads have freed, for good."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

LARGE_PIXELS = 4_000_000
"""Pictures from this size on are worth a look over the whole heap (some ms) once they are done."""


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
    """Give back what a picture of so many pixels has left behind, where that is much and can be done."""
    if _TRIM is not None and pixels >= LARGE_PIXELS:
        _TRIM(0)
