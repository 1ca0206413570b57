"""A window: the part of a picture around a region that can be composited by itself, bit for bit as in the whole.

In: the block grid and the region. Out: a grid of its own, whose blocks are some of the picture's; the rate map and the
planes cut to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import RATES, BlockGrid

from .region import Region

REACH = 96
"""Pixels of the picture around one pixel that its composite may depend on, rounded up.

A sample depends on two samples of the next coarser level on either side: ±5, ±11, ±23 and ±47 pixels at the levels 2,
4, 8 and 16, which is 86 in all; `reach_of(1)`."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Window:
    """Whole blocks of a picture.

    Attributes:
        x, y: its upper left corner in pixels of the padded picture.
        grid: the blocks inside, as a picture of their own.
        whole: the grid of the picture that it is part of.
    """

    x: int
    y: int
    grid: BlockGrid
    whole: BlockGrid

    def of_blocks(self, per_block: NDArray[Scalar]) -> NDArray[Scalar]:
        """The part of a per-block array of the picture, `[rows, cols]` → `[grid.rows, grid.cols]`; a view."""
        block = self.grid.block
        return self._cut(per_block, self.x // block, self.y // block, *self.grid.shape)

    def of_plane(self, plane: NDArray[Scalar], rate: int) -> NDArray[Scalar]:
        """The part of a plane of the picture; a view, or the plane itself where the window is the whole picture."""
        if self.grid.plane_size(rate) == self.whole.plane_size(rate):
            return plane
        width, height = self.grid.plane_size(rate)
        return self._cut(plane, self.x // rate, self.y // rate, height, width)

    def of_planes(self, planes: Mapping[int, NDArray[np.uint8]]) -> dict[int, NDArray[np.uint8]]:
        """`of_plane` of each; copies where that is less than half of a plane, so that the rest can be let go."""
        cut = {rate: self.of_plane(plane, rate) for rate, plane in planes.items()}
        return {
            rate: part.copy() if 2 * part.size < planes[rate].size else part for rate, part in cut.items()
        }

    @staticmethod
    def _cut(samples: NDArray[Scalar], left: int, top: int, height: int, width: int) -> NDArray[Scalar]:
        return samples[top : top + height, left : left + width]


def reach_of(level: int) -> int:
    """Pixels of the picture around a sample of the composite at 1/`level` that it may depend on; see `REACH`."""
    return sum(3 * coarser - 1 for coarser in RATES if coarser > level)


def window_around(grid: BlockGrid, area: Region, reach: int = REACH) -> Window:
    """The smallest window in which `area` (x, y, width, height; inside the padded picture) composites exactly."""
    left, right = _blocks(area[0], area[2], grid.block, grid.padded_width, reach)
    top, bottom = _blocks(area[1], area[3], grid.block, grid.padded_height, reach)
    return Window(left, top, BlockGrid(right - left, bottom - top, grid.block), grid)


def _blocks(start: int, length: int, block: int, end: int, reach: int) -> tuple[int, int]:
    """The pixels from the first to behind the last block that holds one of `start` … `start + length`, ± `reach`."""
    first = max(0, start - reach) // block * block
    return first, min(end, -(-(start + length + reach) // block) * block)
