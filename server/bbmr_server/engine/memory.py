"""Gives free memory back to the system: glibc keeps for good what many threads have freed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

LARGE_PIXELS = 4_000_000
"""Pictures from this size on are worth a pass over the whole heap (some ms) once they are done."""


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
    """Give back the memory of a picture that is done, if it was a large one and the system can."""
    if _TRIM is not None and pixels >= LARGE_PIXELS:
        _TRIM(0)
