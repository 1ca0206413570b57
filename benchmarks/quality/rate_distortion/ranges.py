"""The bit rates that are compared. They depend on the number of pixels: large photos need fewer bits per pixel."""

from __future__ import annotations

LARGE = 5_000_000
"""Pixels from which on a photo is compared at the rates of 4K."""
Range = tuple[float, float]
RANGES: dict[str, tuple[Range, ...]] = {
    "2K": ((0.05, 0.8), (0.03, 0.12), (0.03, 0.2)),
    "4K": ((0.02, 0.4), (0.02, 0.1), (0.02, 0.2)),
}
"""Bits per pixel against AVIF and JPEG XL; the first is the whole range, the others are its lower part."""
CLASSIC: Range = (0.1, 0.8)
"""Bits per pixel against WebP and JPEG."""


def size_class(pixels: int) -> str:
    """Return "2K" or "4K"."""
    return "4K" if pixels >= LARGE else "2K"


def bounds(pixels: int, classic: bool = False) -> Range:
    """Return the lowest and highest rate of all ranges of a picture of that size."""
    chosen = (CLASSIC,) if classic else RANGES[size_class(pixels)]
    return min(low for low, _ in chosen), max(high for _, high in chosen)
