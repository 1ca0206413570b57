"""Crops of many pictures at once: positions, samples and canvas. There is no loop over crops, only index arithmetic.

In: a `PicturePool` and positions. Out: batches on the pool's device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bbmr_models.composite import pyramid, to_base
from bbmr_models.jointsr import Canvas
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.grid import ALIGN

from .pool import PicturePool


class Crops(NamedTuple):
    """Positions of a batch of crops, all `int64 [N]`: picture, top and left in cells, and one of eight orientations."""

    picture: Tensor
    top: Tensor
    left: Tensor
    turn: Tensor


def place(pool: PicturePool, picture: Tensor, drawn: Tensor, cells: int) -> Crops:
    """Return crops of `cells` cells a side in `picture`, `int64 [N]`, from three random numbers each, `[N, 3]`."""
    top = scaled(drawn[:, 0], pool.rows[picture] - cells + 1)
    left = scaled(drawn[:, 1], pool.columns[picture] - cells + 1)
    return Crops(picture, top, left, scaled(drawn[:, 2], 8))


def gather(pool: PicturePool, samples: Tensor, crops: Crops, cells: int, rate: int) -> Tensor:
    """Return crops of one plane of `PicturePool.planes`, in 8-bit values: float32 `[N, 3, side, side]`."""
    index = _index(pool, crops, cells, rate)
    rows = samples.index_select(0, index.flatten()).view(*index.shape, 3)
    return rows.permute(0, 3, 1, 2).contiguous().float()


def gather_cells(pool: PicturePool, values: Tensor, crops: Crops, cells: int) -> Tensor:
    """Return the values of each cell of the crops: `[cells, …]` → `[N, n, n, …]`."""
    index = _index(pool, crops, cells, ALIGN)
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def make_canvas(planes: dict[int, Tensor], cells: Tensor) -> Canvas:
    """Composite lossless planes (0 … 255) by the rates of their cells, `[N, n, n]`."""
    levels = pyramid(planes, cells)
    return Canvas(
        base=to_base(levels[1]) / 255,
        rate=cells,
        error=torch.zeros_like(cells),
        half=levels[2] / MAX_LEVEL,
        quarter=levels[4] / MAX_LEVEL,
    )


def _index(pool: PicturePool, crops: Crops, cells: int, rate: int) -> Tensor:
    """Return the index in the flat plane of `rate` of each sample, flipped and turned: `int64 [N, side, side]`."""
    scale = ALIGN // rate
    side = cells * scale
    ahead = torch.arange(side, device=pool.device)
    turn = crops.turn[:, None]
    y = torch.where(turn & 1 > 0, side - 1 - ahead, ahead) + crops.top[:, None] * scale
    x = torch.where(turn & 2 > 0, side - 1 - ahead, ahead) + crops.left[:, None] * scale
    y = y * pool.columns[crops.picture][:, None] * scale + pool.first[crops.picture][:, None] * scale**2
    swapped = turn & 4 > 0
    return torch.where(swapped, x, y)[:, :, None] + torch.where(swapped, y, x)[:, None, :]


def scaled(drawn: Tensor, count: Tensor | int) -> Tensor:
    """Map random numbers in 0 … 1 to integers in 0 … count − 1."""
    return (drawn * count).long()
