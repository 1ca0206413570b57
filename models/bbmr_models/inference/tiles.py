"""The tiles of a picture: squares from its origin on, each read with a halo around it.

Every program uses the same tiles and so makes the same picture, even with backbones whose output depends on the whole
tile. Only for a network that looks no further than its halo, a region gets tiles of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bbmr_shared.compositing.region import Region
from bbmr_shared.grid import ALIGN


@dataclass(frozen=True)
class Tile:
    """One tile in pixels of the padded picture: `core` is written, `seen` (the core and its halo) is read.

    Both are (x, y, width, height). `seen` ends at the picture's border; it is never padded there.
    """

    core: Region
    seen: Region


def tiles(width: int, height: int, tile: int, halo: int, region: Region | None = None) -> Iterator[Tile]:
    """The tiles of a padded picture, row by row; with `region`, only those that it touches.

    Args:
        width, height: of the padded picture in pixels; multiples of 16, as are `tile` and `halo`.
        region: (x, y, width, height) in pixels.
    """
    left, top, wide, tall = region or (0, 0, width, height)
    for y in range(top // tile * tile, min(height, top + tall), tile):
        for x in range(left // tile * tile, min(width, left + wide), tile):
            core = (x, y, min(tile, width - x), min(tile, height - y))
            yield Tile(core, _grown(core, halo, width, height))


def tiles_around(width: int, height: int, tile: int, halo: int, region: Region) -> Iterator[Tile]:
    """The fewest tiles that cover a region, of at most `tile` a side, row by row; for networks that look no further
    than their halo.

    Args: as for `tiles`. Together the cores are the region, with each side moved out to a multiple of 16.
    """
    x, y, wide, tall = region
    right, bottom = min(width, _up(x + wide)), min(height, _up(y + tall))
    for top in range(y // ALIGN * ALIGN, bottom, tile):
        for left in range(x // ALIGN * ALIGN, right, tile):
            core = (left, top, min(tile, right - left), min(tile, bottom - top))
            yield Tile(core, _grown(core, halo, width, height))


def _up(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


def _grown(core: Region, halo: int, width: int, height: int) -> Region:
    x, y, wide, tall = core
    left, top = max(0, x - halo), max(0, y - halo)
    return left, top, min(width, x + wide + halo) - left, min(height, y + tall + halo) - top
