"""Crops of many pictures at once: where they lie, what is gathered there, and the canvas made of it.

In: a `Pool` and positions. Out: batches on the pool's device. Everything is index arithmetic: no loop over crops.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bbmr_models.composite import expand_cells, pyramid, to_base
from bbmr_models.jointsr import GRID, Canvas
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.grid import ALIGN

from .pool import Pool


class Crops(NamedTuple):
    """Where a batch of crops lies, all `int64 [N]`: picture, top and left in cells, and one of eight orientations."""

    picture: Tensor
    top: Tensor
    left: Tensor
    turn: Tensor


def place(pool: Pool, picture: Tensor, drawn: Tensor, cells: int) -> Crops:
    """Crops of `cells` cells a side in `picture`, `int64 [N]`, by three random numbers each, `[N, 3]`."""
    top = scaled(drawn[:, 0], pool.rows[picture] - cells + 1)
    left = scaled(drawn[:, 1], pool.columns[picture] - cells + 1)
    return Crops(picture, top, left, scaled(drawn[:, 2], 8))


def gather(pool: Pool, samples: Tensor, crops: Crops, cells: int, rate: int) -> Tensor:
    """Crops of one plane, `uint8 [samples, 3]` as in `Pool.planes`, as 8-bit values: float32 `[N, 3, side, side]`."""
    index = _index(pool, crops, cells, rate)
    rows = samples.index_select(0, index.flatten()).view(*index.shape, 3)
    return rows.permute(0, 3, 1, 2).contiguous().float()


def gather_cells(pool: Pool, values: Tensor, crops: Crops, cells: int) -> Tensor:
    """What is known of each cell of the crops: `[cells, …]` → `[N, n, n, …]`."""
    index = _index(pool, crops, cells, ALIGN)
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def make_canvas(planes: dict[int, Tensor], cells: Tensor, error: Tensor | None = None) -> Canvas:
    """Composite planes (0 … 255) under the rates of their cells; `error`, `[N, n, n]`, is the coding error there."""
    levels = pyramid(planes, cells)
    rate = expand_cells(cells, GRID)
    return Canvas(
        base=to_base(levels[1]) / 255,
        half=levels[2] / MAX_LEVEL,
        quarter=levels[4] / MAX_LEVEL,
        rate=rate,
        error=torch.zeros_like(rate, dtype=torch.float32)
        if error is None
        else expand_cells(error, GRID).float(),
    )


def _index(pool: Pool, crops: Crops, cells: int, rate: int) -> Tensor:
    """Where each sample of the crops, turned and flipped, lies in the flat plane of `rate`: `int64 [N, side, side]`."""
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
    """Random numbers in 0 … 1 to whole numbers in 0 … count − 1."""
    return (drawn * count).long()
