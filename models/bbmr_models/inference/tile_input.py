"""Cuts the network's input from a container, tile by tile, and puts its output together. numpy only, no torch.

In: a container and a region. Out: `TileInput`s, and the picture once every tile is corrected. Only the window around
the region is composited, and its finest level only for the rows of the current tiles. So memory holds the planes, the
coarser levels that are used (at most two bytes a pixel) and the output.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.config import BACKBONE_GRID, JointSRConfig
from bbmr_shared.compositing.composite import base, coarse_levels, to_picture
from bbmr_shared.compositing.region import Region, check_region
from bbmr_shared.compositing.window import window_around
from bbmr_shared.container import Container
from bbmr_shared.grid import ALIGN, BlockGrid

from .tiles import Tile, tiles, tiles_around


@dataclass(frozen=True)
class TileInput:
    """The network's input for one tile of H×W pixels, multiples of 16. The maps have a value for each 16×16 cell.

    Attributes:
        base: uint8 `[H, W, 3]`, the composite.
        rate: uint8 `[H/16, W/16]`, the rate of each cell's block.
        error: uint8 `[H/16, W/16]`, the coding error byte of that block's plane; 0 is lossless.
        strength: uint8 `[H/16, W/16]` in 0 … `FULL_STRENGTH`, how much of the correction is added.
        half, quarter: int16 `[H/2, W/2, 3]`, `[H/4, W/4, 3]`, the coarser levels of the composite in 0 … 255·32;
            None for a network that does not read them.
    """

    base: NDArray[np.uint8]
    rate: NDArray[np.uint8]
    error: NDArray[np.uint8]
    strength: NDArray[np.uint8]
    half: NDArray[np.int16] | None = None
    quarter: NDArray[np.int16] | None = None

    @property
    def restored(self) -> NDArray[np.bool_]:
        """The cells at rate 1 with coding errors, `bool [H/16, W/16]`."""
        return (self.rate == 1) & (self.error > 0)

    def part(self, rows: slice, columns: slice) -> TileInput:
        """These rows and columns of cells, views; for a network that reads no coarser levels."""
        pixels = (slice(cells.start * ALIGN, cells.stop * ALIGN) for cells in (rows, columns))
        cells = rows, columns
        return TileInput(self.base[tuple(pixels)], self.rate[cells], self.error[cells], self.strength[cells])

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.base.shape[0], self.base.shape[1]


class TileSource:
    """The composite around a region, from which tiles are cut. For any thread.

    Args:
        container: the picture.
        area: (x, y, width, height) in pixels of the picture.
        planes: `container.decode_planes()`, if the caller has it already.

    Raises:
        PlaneError: a plane does not decode.
    """

    def __init__(
        self,
        container: Container,
        area: Region,
        planes: Mapping[int, NDArray[np.uint8]] | None,
        config: JointSRConfig,
    ) -> None:
        grid = container.grid
        cut = tiles_around if config.local and area[2:] != (grid.width, grid.height) else tiles
        self.tiles = list(cut(grid.padded_width, grid.padded_height, config.tile, config.halo, area))
        window = window_around(grid, _union([tile.seen for tile in self.tiles]))
        rate_map = window.of_blocks(container.rate_map)
        if planes is None:
            planes = container.decode_planes(frozenset(np.unique(rate_map).tolist()))
        planes = window.of_planes(planes)
        coarsest = max(int(rate_map.max()), BACKBONE_GRID if config.levels else 1)
        self._levels = coarse_levels(planes, rate_map, window.grid, coarsest=coarsest) if coarsest > 1 else {}
        self._reads_levels = config.levels
        self._window = window
        self._map = rate_map
        self._finest = {1: planes[1]} if 1 in planes else {}
        errors = np.zeros(256, np.uint8)
        for plane in container.planes:
            errors[plane.rate] = plane.error
        self._rate = window.grid.expand(rate_map, ALIGN)
        self._error = window.grid.expand(errors[rate_map], ALIGN)
        self._strength = window.grid.expand(window.of_blocks(container.strengths), ALIGN)
        self._band = _Band(0, np.empty((0, window.grid.padded_width, 3), np.uint8))
        self._lock = threading.Lock()

    def is_final(self, tile: Tile) -> bool:
        """Whether the network changes nothing in the tile: it is exact, or of strength 0."""
        cut = self._cut(tile.core, ALIGN)
        exact = (self._rate[cut] == 1) & (self._error[cut] == 0)
        return bool((exact | (self._strength[cut] == 0)).all())

    def base(self, area: Region) -> NDArray[np.uint8]:
        """The composite of `area`, `uint8 [height, width, 3]`; a view."""
        rows, columns = self._cut(area, 1)
        with self._lock:
            if rows.start < self._band.top or rows.stop > self._band.bottom:
                self._band = self._move(rows)
            band = self._band
        return band.rows[rows.start - band.top : rows.stop - band.top, columns]

    def cut(self, tile: Tile) -> TileInput:
        """The network's input for a tile; views."""
        cells = self._cut(tile.seen, ALIGN)
        half, quarter = (
            self._levels[level][self._cut(tile.seen, level)] if self._reads_levels else None
            for level in (2, BACKBONE_GRID)
        )
        maps = self._rate[cells], self._error[cells], self._strength[cells]
        return TileInput(self.base(tile.seen), *maps, half, quarter)

    def _cut(self, area: Region, at: int) -> tuple[slice, slice]:
        x, y, width, height = area[0] - self._window.x, area[1] - self._window.y, area[2], area[3]
        return slice(y // at, (y + height) // at), slice(x // at, (x + width) // at)

    def _move(self, rows: slice) -> _Band:
        """The band of whole rows of blocks that holds `rows`; rows that the last band has are copied from it."""
        grid, old = self._window.grid, self._band
        first, last = rows.start // grid.block, -(-rows.stop // grid.block)
        start, stop = first * grid.block, _bottom(grid, last)
        new = _Band(start, np.empty((stop - start, *old.rows.shape[1:]), np.uint8))
        for row in range(first, last):
            top, bottom = row * grid.block, _bottom(grid, row + 1)
            if old.top <= top and bottom <= old.bottom:
                made = old.rows[top - old.top : bottom - old.top]
            else:
                made = base(self._levels, self._finest, self._map, grid, range(row, row + 1))
            new.rows[top - new.top : bottom - new.top] = made
        return new


class OutputPixels:
    """The pixels of a region, put together from tiles in any order.

    Args:
        area: (x, y, width, height) in pixels of the picture.
    """

    def __init__(self, area: Region) -> None:
        self.area = area
        self._out = np.empty((area[3], area[2], 3), np.uint8)

    def put(self, tile: Tile, seen: NDArray[np.uint8]) -> None:
        """Write the core of a tile. `seen` covers all of `tile.seen`, `uint8 [seen height, seen width, 3]`."""
        x, y, width, height = _intersection(tile.core, self.area)
        left, top = x - tile.seen[0], y - tile.seen[1]
        self._out[y - self.area[1] :, x - self.area[0] :][:height, :width] = seen[
            top : top + height, left : left + width
        ]

    def picture(self, container: Container) -> Image.Image:
        """The picture with the photo's metadata and alpha; to be called once every tile is written."""
        return to_picture(self._out, container, self.area)


def area_of(container: Container, region: Region | None) -> Region:
    """The region, or the whole picture if it is None. Raises `ValueError` if it is not inside the picture."""
    area = region or (0, 0, container.width, container.height)
    check_region(area, container.width, container.height)
    return area


@dataclass(frozen=True)
class _Band:
    """Rows of the finest level of the window: from `top` on."""

    top: int
    rows: NDArray[np.uint8]

    @property
    def bottom(self) -> int:
        return self.top + self.rows.shape[0]


def _bottom(grid: BlockGrid, rows: int) -> int:
    """Height in pixels of the first `rows` rows of blocks."""
    return min(rows * grid.block, grid.padded_height)


def _union(areas: list[Region]) -> Region:
    left, top = min(area[0] for area in areas), min(area[1] for area in areas)
    right, bottom = max(area[0] + area[2] for area in areas), max(area[1] + area[3] for area in areas)
    return left, top, right - left, bottom - top


def _intersection(a: Region, b: Region) -> Region:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    return left, top, min(a[0] + a[2], b[0] + b[2]) - left, min(a[1] + a[3], b[1] + b[3]) - top
