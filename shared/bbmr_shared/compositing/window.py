"""A window: whole blocks around a region that can be composited by themselves, bit for bit as in the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import RATES, BlockGrid

from .region import Region

REACH = 96
"""A pixel of the base depends on pixels at most this far away (rounded up).

A sample depends on two samples of the next coarser level on either side: ±5, ±11, ±23 and ±47 pixels at the levels 2,
4, 8 and 16, which is 86 in all; `reach_of(1)`."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Window:
    """Whole blocks of a picture.

    Attributes:
        x, y: the upper left corner in pixels of the padded picture.
        grid: the grid of the blocks inside.
        whole: the grid of the whole picture.
    """

    x: int
    y: int
    grid: BlockGrid
    whole: BlockGrid

    def of_blocks(self, per_block: NDArray[Scalar]) -> NDArray[Scalar]:
        """Returns its part of a per-block array, `[rows, cols]` → `[grid.rows, grid.cols]`, as a view."""
        block = self.grid.block
        return self._cut(per_block, self.x // block, self.y // block, *self.grid.shape)

    def of_plane(self, plane: NDArray[Scalar], rate: int) -> NDArray[Scalar]:
        """Returns its part of a plane as a view, or the plane itself if the window is the whole picture."""
        if self.grid.plane_size(rate) == self.whole.plane_size(rate):
            return plane
        width, height = self.grid.plane_size(rate)
        return self._cut(plane, self.x // rate, self.y // rate, height, width)

    def of_planes(self, planes: Mapping[int, NDArray[np.uint8]]) -> dict[int, NDArray[np.uint8]]:
        """Returns `of_plane` of each; parts below half a plane are copied, so that the plane can be freed."""
        cut = {rate: self.of_plane(plane, rate) for rate, plane in planes.items()}
        return {
            rate: part.copy() if 2 * part.size < planes[rate].size else part for rate, part in cut.items()
        }

    @staticmethod
    def _cut(samples: NDArray[Scalar], left: int, top: int, height: int, width: int) -> NDArray[Scalar]:
        return samples[top : top + height, left : left + width]


def reach_of(level: int) -> int:
    """Returns the pixels around a sample of the base at 1/`level` that it may depend on; see `REACH`."""
    return sum(3 * coarser - 1 for coarser in RATES if coarser > level)


def window_around(grid: BlockGrid, area: Region, reach: int = REACH) -> Window:
    """Returns the smallest window in which `area` (x, y, width, height; padded pixels) composites exactly."""
    left, right = _blocks(area[0], area[2], grid.block, grid.padded_width, reach)
    top, bottom = _blocks(area[1], area[3], grid.block, grid.padded_height, reach)
    return Window(left, top, BlockGrid(right - left, bottom - top, grid.block), grid)


def _blocks(start: int, length: int, block: int, end: int, reach: int) -> tuple[int, int]:
    """Returns (first, last + 1) of the pixels of all blocks that hold one of `start` … `start + length`, ± `reach`."""
    first = max(0, start - reach) // block * block
    return first, min(end, -(-(start + length + reach) // block) * block)
