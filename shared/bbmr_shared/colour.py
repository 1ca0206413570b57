"""BT.601 luma, as in the super-resolution literature, and the weighted error that rate allocation minimises."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA_WEIGHT, CHROMA_WEIGHT = 6.0, 1.0
"""Y : Cb : Cr = 6 : 1 : 1; luma alone would not count lost colour."""


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """BT.601 studio-range luma, 16 … 235: `uint8 [H, W, 3]` → `float64 [H, W]`, not rounded.

    The definition behind PSNR-Y in the super-resolution literature (MATLAB's `rgb2ycbcr`).
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    return np.asarray(rgb.astype(np.float64) @ weights + 16.0)


def weighted_squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(6·ΔY² + ΔCb² + ΔCr²) / 8 of each pixel (BT.601, full range): `uint8 [H, W, 3]` twice → `float32 [H, W]`."""
    difference = a.astype(np.int16) - b
    red, green, blue = (difference[..., channel].astype(np.float32) for channel in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    blue -= y
    red -= y
    blue *= 0.564334
    red *= 0.713267
    y *= y
    y *= LUMA_WEIGHT
    y += CHROMA_WEIGHT * (blue * blue + red * red)
    y /= LUMA_WEIGHT + 2 * CHROMA_WEIGHT
    return np.asarray(y)
