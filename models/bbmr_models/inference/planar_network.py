"""The part of a network that needs no torch: its input and output in numpy. A runtime adds the convolutions.

In: `TileInput`s. Out: pixels. Features are `[C, h, w]`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_models.config import GRID, JointSRConfig
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.grid import RATES

from .tile_input import TileInput

Features = NDArray[np.float32]
"""`[C, h, w]`."""
FOLDED, HALF_FOLDED = 3 * GRID**2, 3 * (GRID // 2) ** 2
STEM_INPUTS = 3 + HALF_FOLDED + FOLDED + len(RATES) + 1
DEBLOCK_INPUTS = FOLDED + len(RATES)


class PlanarNetwork(ABC):
    """A `Network` without its convolutions (`correct`). It runs one tile after the other."""

    config: JointSRConfig

    @abstractmethod
    def correct(self, canvas: Features, base: Features | None) -> Features:
        """Run the convolutions.

        Args:
            canvas: `[69, h, w]`, input of the stem.
            base: `[53, h, w]`, input of the deblock branch; None without that branch.

        Returns:
            `[48, h, w]`, the head's output; the caller may write into it.
        """

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`."""
        out = np.empty((len(batch), *batch[0].base.shape), np.uint8)
        for tile, pixels in zip(batch, out, strict=True):
            folded = fold(tile.base, GRID)
            add(self.correct(*inputs(tile, folded, self.config.deblock > 0)), folded, tile, pixels)
        return out


def inputs(tile: TileInput, folded: Features, deblock: bool) -> tuple[Features, Features | None]:
    """Input of the stem, and of the deblock branch (None without `deblock`), as in `JointSR`.

    `folded` is the base after `fold`.
    """
    one_hot = np.equal(tile.rate, np.array(RATES, np.uint8)[:, None, None])
    canvas = np.empty((STEM_INPUTS, *tile.rate.shape), np.float32)
    quarter = tile.quarter.transpose(2, 0, 1).astype(np.float32) / np.float32(MAX_LEVEL)
    np.subtract(quarter, np.float32(0.5), out=canvas[:3])
    known = 3 + HALF_FOLDED
    _detail(fold(tile.half, GRID // 2), MAX_LEVEL, quarter, tile.rate <= 2, canvas[3:known])
    _detail(folded, 255, quarter, tile.rate == 1, canvas[known : known + FOLDED])
    canvas[known + FOLDED : -1] = one_hot
    np.divide(tile.error, np.float32(128), out=canvas[-1])
    if not deblock:
        return canvas, None
    base = np.empty((DEBLOCK_INPUTS, *tile.rate.shape), np.float32)
    np.divide(folded, np.float32(255), out=base[:FOLDED])
    base[:FOLDED] -= np.float32(0.5)
    base[FOLDED:] = one_hot
    return canvas, base


def add(correction: Features, folded: Features, tile: TileInput, out: NDArray[np.uint8]) -> None:
    """Write base plus correction, rounded, into `out`. Overwrites `correction`."""
    changed = (tile.rate > 1) | (tile.error > 0)
    correction *= (changed * tile.strength).astype(np.float32) * np.float32(255 / FULL_STRENGTH)
    correction += folded
    correction += np.float32(0.5)
    np.clip(correction, 0, 255, out=correction)
    h, w = tile.rate.shape
    squares = correction.astype(np.uint8).reshape(3, GRID, GRID, h, w)
    out.reshape(h, GRID, w, GRID, 3)[...] = squares.transpose(3, 1, 4, 2, 0)


def fold(picture: NDArray[np.generic], times: int) -> Features:
    """`[H, W, 3]` → float32 `[3 · times², H / times, W / times]`, planes by colour, row, column of each square."""
    height, width, _ = picture.shape
    squares = picture.reshape(height // times, times, width // times, times, 3).transpose(4, 1, 3, 0, 2)
    return squares.astype(np.float32, order="C").reshape(-1, height // times, width // times)


def _detail(finer: Features, scale: int, coarse: Features, known: NDArray[np.bool_], out: Features) -> None:
    """Write into `out` what a finer level adds to the coarse one; zero where it is not `known`."""
    shape = (3, -1, *coarse.shape[1:])
    out = out.reshape(shape)
    np.divide(finer.reshape(out.shape), np.float32(scale), out=out)
    out -= coarse[:, None]
    out *= known
