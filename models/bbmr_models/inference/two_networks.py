"""Runs tiles through two networks: one restores blocks at rate 1 with coding errors, the other does all other blocks.

Each cell's pixels come from the network of its block, so tiles of any cut give the same picture. A network runs only on
the part of a tile that holds cells for it, and what they depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import ALIGN

from .tile_input import TileInput

Run = Callable[[Sequence[TileInput]], NDArray[np.uint8]]
"""Tiles of one shape → `uint8 [N, H, W, 3]`."""
Mask = NDArray[np.bool_]


def run_both(
    batch: Sequence[TileInput], others: Run, restoration: Run, radius: int | None = None
) -> NDArray[np.uint8]:
    """Returns the corrected tiles, `uint8 [N, H, W, 3]`. Cells that no network changes are those of the base.

    Args:
        batch: tiles of one shape.
        others, restoration: the networks.
        radius: pixels that an output pixel depends on, to cut each network's part out of a tile; None gives whole tiles
            to the networks, for one where each new shape costs time.
    """
    out = np.stack([tile.base for tile in batch])
    for run, restored in ((others, False), (restoration, True)):
        masks = [active(tile, restored) for tile in batch]
        chosen = [index for index, mask in enumerate(masks) if mask.any()]
        if radius is None and chosen:
            for index, pixels in zip(chosen, run([batch[index] for index in chosen]), strict=True):
                _paste(pixels, masks[index], out[index])
            continue
        for index in chosen:
            rows, columns = _around(masks[index], -(-radius // ALIGN) if radius else 0)
            part = batch[index].part(rows, columns)
            target = out[
                index, rows.start * ALIGN : rows.stop * ALIGN, columns.start * ALIGN : columns.stop * ALIGN
            ]
            _paste(run([part])[0], masks[index][rows, columns], target)
    return out


def active(tile: TileInput, restored: bool) -> Mask:
    """The cells that one of the networks changes, `bool [H/16, W/16]`."""
    kind = tile.restored if restored else tile.rate > 1
    return kind & (tile.strength > 0)


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle around the mask, `margin` cells larger where the tile is."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - margin), min(mask.shape[0], int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(mask.shape[1], int(columns[-1]) + 1 + margin)),
    )


def _paste(pixels: NDArray[np.uint8], mask: Mask, out: NDArray[np.uint8]) -> None:
    """Copy the pixels of the mask's cells."""
    np.copyto(out, pixels, where=mask.repeat(ALIGN, 0).repeat(ALIGN, 1)[..., None])
