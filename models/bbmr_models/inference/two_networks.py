"""Runs tiles through two networks: one restores blocks at rate 1 with coding errors, the other does all other blocks.

Each cell's pixels come from the network of its block, so tiles of any cut give the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import ALIGN

from .tile_input import TileInput

Run = Callable[[Sequence[TileInput]], NDArray[np.uint8]]
"""Tiles of one shape → `uint8 [N, H, W, 3]`."""


def run_both(batch: Sequence[TileInput], others: Run, restoration: Run) -> NDArray[np.uint8]:
    """Returns the corrected tiles, `uint8 [N, H, W, 3]`; a network runs only on the tiles that have blocks for it."""
    masks = [tile.restored for tile in batch]
    # exact cells stay as they are in both
    for_others = [
        index for index, tile in enumerate(batch) if (tile.rate > 1).any() or not masks[index].any()
    ]
    for_restoration = [index for index, mask in enumerate(masks) if mask.any()]
    out = np.empty((len(batch), *batch[0].base.shape), np.uint8)
    if for_others:
        out[for_others] = others([batch[index] for index in for_others])
    if not for_restoration:
        return out
    restored = restoration([batch[index] for index in for_restoration])
    for index, pixels in zip(for_restoration, restored, strict=True):
        if index in for_others:
            mask = masks[index].repeat(ALIGN, 0).repeat(ALIGN, 1)
            np.copyto(out[index], pixels, where=mask[..., None])
        else:
            out[index] = pixels
    return out
