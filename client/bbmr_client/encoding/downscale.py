"""Downscaling: a photo becomes one low-resolution picture of the whole image per rate.

In: `uint8 [H, W, 3]`, padded. Out: its antialiased bicubic planes. Blocks are cut out of these planes afterwards, so
no block edge is ever in the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

_STRIP = 1 << 22
"""Pixels that are given to Pillow at once, about: it takes a copy of them, with a fourth byte each."""

REACH = 3
"""Rows of a plane that its kernel can reach beyond a strip, and one to spare (Keys: two)."""


def bicubic_planes(padded: Picture, rates: Sequence[int]) -> dict[int, Picture]:
    """The whole picture at 1/rate for every rate: `[H, W, 3]` → rate → `[H/rate, W/rate, 3]`, uint8.

    Antialiased bicubic (Keys, a = −0.5, support stretched by the rate), as Pillow computes it.
    """
    return {rate: padded if rate == 1 else _shrunk(padded, rate) for rate in rates}


def _shrunk(padded: Picture, rate: int) -> Picture:
    """One plane, a strip at a time; the samples are those of `resample.bicubic`."""
    height, width = padded.shape[:2]
    plane = np.empty((height // rate, width // rate, 3), np.uint8)
    rows = max(1, _STRIP // (width * rate))
    for top in range(0, plane.shape[0], rows):
        bottom = min(top + rows, plane.shape[0])
        first, last = max(0, (top - REACH) * rate), min(height, (bottom + REACH) * rate)
        plane[top:bottom] = np.asarray(
            Image.fromarray(padded[first:last]).resize(
                (width // rate, bottom - top),
                Image.Resampling.BICUBIC,
                box=(0, top * rate - first, width, bottom * rate - first),
            )
        )
    return plane
