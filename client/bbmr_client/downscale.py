"""Downscaling: a photo becomes one low-resolution picture of the whole image per rate.

In: the padded picture, `uint8 [H, W, 3]`. Out: its antialiased bicubic planes. Blocks are cut out of these
planes afterwards, so no block edge is ever in the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.resample import bicubic

Picture = NDArray[np.uint8]


def bicubic_planes(padded: Picture, rates: Sequence[int]) -> dict[int, Picture]:
    """The whole picture at 1/rate for every rate: `[H, W, 3]` → rate → `[H/rate, W/rate, 3]`, uint8.

    Antialiased bicubic (Keys, a = −0.5, support stretched by the rate), as Pillow computes it.
    """
    height, width = padded.shape[:2]
    return {rate: padded if rate == 1 else bicubic(padded, width // rate, height // rate) for rate in rates}
