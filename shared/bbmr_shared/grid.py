"""The block grid: where blocks lie in the padded picture and in the plane of every rate; and the palette of rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .arguments import is_whole
from .errors import InvalidArgumentError
from .limits import MAX_BLOCK, MIN_BLOCK

Scalar = TypeVar("Scalar", bound=np.generic)

RATES: tuple[int, ...] = (1, 2, 4, 8, 16)
"""Every downscale rate a block can have, fine to coarse. A block of rate r keeps 1/r² of its samples."""

BLOCK = 128
"""Side of a block in pixels of the full-resolution picture."""

ALIGN = 16
"""Pictures are padded by edge replication to a multiple of this, the coarsest rate."""


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of `block`×`block` pixels over a `width`×`height` picture padded to a multiple of 16.

    Blocks at the right and bottom border may be smaller; their sides are still multiples of 16, so that every
    block has a whole number of samples at every rate.

    Raises:
        InvalidArgumentError: a side is no whole number above 0, or `block` is no multiple of 16 from 16 to 1024.
    """

    width: int
    height: int
    block: int = BLOCK

    def __post_init__(self) -> None:
        if not all(is_whole(side) and side > 0 for side in (self.width, self.height)):
            raise InvalidArgumentError(f"a picture has at least 1×1 pixels, not {self.width}×{self.height}")
        if not is_whole(self.block) or self.block % ALIGN or not MIN_BLOCK <= self.block <= MAX_BLOCK:
            raise InvalidArgumentError(
                f"the block side is a multiple of {ALIGN} in {MIN_BLOCK}..{MAX_BLOCK}, not {self.block}"
            )

    @property
    def padded_width(self) -> int:
        return -(-self.width // ALIGN) * ALIGN

    @property
    def padded_height(self) -> int:
        return -(-self.height // ALIGN) * ALIGN

    @property
    def cols(self) -> int:
        return -(-self.padded_width // self.block)

    @property
    def rows(self) -> int:
        return -(-self.padded_height // self.block)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of every per-block array."""
        return self.rows, self.cols

    def plane_size(self, rate: int) -> tuple[int, int]:
        """(width, height) in samples of the plane of `rate`."""
        return self.padded_width // rate, self.padded_height // rate

    @cached_property
    def heights(self) -> NDArray[np.int64]:
        """Height in padded pixels of each row of blocks, [rows]."""
        return _sides(self.padded_height, self.block)

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """Width in padded pixels of each column of blocks, [cols]."""
        return _sides(self.padded_width, self.block)

    def areas(self) -> NDArray[np.int64]:
        """Returns the area in padded pixels of every block, [rows, cols]."""
        return np.outer(self.heights, self.widths).astype(np.int64)

    def samples(self, rate_map: NDArray[np.uint8]) -> int:
        """Returns how many low-resolution samples `rate_map` keeps: Σ area / rate², without the grey of the planes."""
        rates = rate_map.astype(np.int64)
        return int((self.areas() // (rates * rates)).sum())

    def expand(self, per_block: NDArray[Scalar], at: int = 1) -> NDArray[Scalar]:
        """Returns the value of each sample's block at rate `at`: [rows, cols] → [padded_height/at, padded_width/at]."""
        tall = np.repeat(per_block, self.heights // at, axis=0)
        return np.repeat(tall, self.widths // at, axis=1)

    def block_sums(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the sum of per-pixel values over each block: [padded_height, padded_width] → [rows, cols]."""
        tops = np.arange(self.rows) * self.block
        lefts = np.arange(self.cols) * self.block
        by_row = np.add.reduceat(samples, tops, axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(by_row, lefts, axis=1, dtype=np.float64))


def _sides(padded: int, block: int) -> NDArray[np.int64]:
    count = -(-padded // block)
    sides = np.full(count, block, dtype=np.int64)
    sides[-1] = padded - (count - 1) * block
    return sides
