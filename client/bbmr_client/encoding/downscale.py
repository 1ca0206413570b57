"""Downscaling: makes one low-resolution picture of the whole photo for each rate.

Blocks are cut out of these planes afterwards, so block edges have no effect on the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.resample import REACH

Picture = NDArray[np.uint8]

DOWNSCALER = "bicubic"
"""The name of this downscaler in containers."""

_STRIP = 1 << 22
"""Pixels that are passed to Pillow at once, roughly. Pillow copies them, with four bytes each."""


def bicubic_planes(padded: Picture, rates: Sequence[int]) -> dict[int, Picture]:
    """Returns the whole picture, `uint8 [H, W, 3]`, at 1/rate for every rate: rate → `uint8 [H/rate, W/rate, 3]`.

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
