"""The part of `light` that needs no torch: its input and output in numpy. A runtime adds the convolutions.

In: `TileInput`s. Out: pixels. Features are `[C, h, w]` on the HR/2 grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bbmr_models.config import LIGHT_GRID as GRID
from bbmr_models.config import LOG_ERRORS, JointSRConfig
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.grid import ALIGN, RATES

from .tile_input import TileInput
from .two_networks import run_both

Features = NDArray[np.float32]
"""`[C, h, w]`."""
Samples = TypeVar("Samples", np.float32, np.bool_)
FOLDED = 3 * GRID**2
INPUTS = FOLDED + len(RATES) + 1


class PlanarNetwork(ABC):
    """A `Network` without its convolutions (`correct`). It runs one tile after the other."""

    config: JointSRConfig

    @abstractmethod
    def correct(self, canvas: Features, restoration: bool) -> Features:
        """Run the convolutions.

        Args:
            canvas: `[18, h, w]`, from `inputs`.
            restoration: whether with the weights for restoration, which only `config.restoration` has.

        Returns:
            `[12, h, w]`, the head's output; the caller may write into it.
        """

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`."""
        if not self.config.restoration:
            return self._run(False, batch)
        return run_both(batch, partial(self._run, False), partial(self._run, True), self.config.radius)

    def _run(self, restoration: bool, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        out = np.empty((len(batch), *batch[0].base.shape), np.uint8)
        for tile, pixels in zip(batch, out, strict=True):
            folded = fold(tile.base)
            add(self.correct(inputs(tile, folded), restoration), folded, tile, pixels)
        return out


def inputs(tile: TileInput, folded: Features) -> Features:
    """Input of the stem, as in `JointUNet`; `folded` is the base after `fold`."""
    one_hot = np.equal(tile.rate, np.array(RATES, np.uint8)[:, None, None])
    canvas = np.empty((INPUTS, *folded.shape[1:]), np.float32)
    np.multiply(folded, np.float32(1 / 255), out=canvas[:FOLDED])
    canvas[:FOLDED] -= np.float32(0.5)
    canvas[FOLDED:-1] = expand(one_hot)
    canvas[-1] = expand(LOG_ERRORS[tile.error])
    return canvas


def add(correction: Features, folded: Features, tile: TileInput, out: NDArray[np.uint8]) -> None:
    """Write base plus correction, rounded, into `out`. Overwrites `correction`."""
    changed = (tile.rate > 1) | (tile.error > 0)
    correction *= expand((changed * tile.strength).astype(np.float32) * np.float32(255 / FULL_STRENGTH))
    correction += folded
    correction += np.float32(0.5)
    np.clip(correction, 0, 255, out=correction)
    h, w = folded.shape[1:]
    squares = correction.astype(np.uint8).reshape(3, GRID, GRID, h, w)
    out.reshape(h, GRID, w, GRID, 3)[...] = squares.transpose(3, 1, 4, 2, 0)


def fold(picture: NDArray[np.uint8]) -> Features:
    """`[H, W, 3]` → float32 `[12, H/2, W/2]`, planes by colour, row, column of each square."""
    height, width, _ = picture.shape
    squares = picture.reshape(height // GRID, GRID, width // GRID, GRID, 3).transpose(4, 1, 3, 0, 2)
    return squares.astype(np.float32, order="C").reshape(-1, height // GRID, width // GRID)


def expand(cells: NDArray[Samples]) -> NDArray[Samples]:
    """`[…, H/16, W/16]` → `[…, H/2, W/2]`."""
    return cells.repeat(ALIGN // GRID, -2).repeat(ALIGN // GRID, -1)
