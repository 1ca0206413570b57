"""Batches for training: random crops with random rate maps, composited on the device.

Crops and blocks start at independent multiples of 16, so block borders lie anywhere in a crop. Planes are made once:
flips and rotations do not change them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas
from bbmr_shared.grid import ALIGN

from .crop_settings import LAMBDA, CropSettings
from .crops import Crops, gather, gather_cells, make_canvas, place, scaled
from .pool import PicturePool
from .rate_maps import block_of_cell, expand_blocks, lagrangian, most_blocks

UNIFORM_SHARE, RANDOM_SHARE = 1 / 6, 1 / 6
UNIFORM_RATES = (2, 4, 4, 8)
NUMBERS_PER_CROP = 9
"""Random numbers per crop, without those for a random rate map."""


class Sampler:
    """Draws batches. All random numbers of a batch come from one call to `generator`, whose state is the data order."""

    def __init__(self, pool: PicturePool, settings: CropSettings, seed: int) -> None:
        self.pool, self.settings = pool, settings
        self.generator = torch.Generator().manual_seed(seed)
        self.cells, self._block_cells = settings.crop // ALIGN, settings.block // ALIGN
        self._blocks = most_blocks(self.cells, self._block_cells)
        areas = (pool.rows * pool.columns).double()
        self._cumulative = areas.cumsum(0) / areas.sum()
        uniform = [rate for rate in UNIFORM_RATES if rate in settings.palette] or list(settings.palette)
        self._uniform = torch.tensor(uniform, device=pool.device)
        self._rates = torch.tensor(settings.palette, device=pool.device)

    def draw(self) -> tuple[Canvas, Tensor]:
        """Return a `Canvas` of `[batch, …]` and the target, float32 `[batch, 3, crop, crop]` in 0 … 1."""
        size = self.settings.batch, NUMBERS_PER_CROP + self._blocks**2
        drawn = torch.rand(size, generator=self.generator, dtype=torch.float64)
        drawn = drawn.to(self.pool.device, non_blocking=True)
        picture = torch.searchsorted(self._cumulative, drawn[:, 1].contiguous(), right=True)
        crops = place(self.pool, picture.clamp_(max=len(self.pool) - 1), drawn[:, 2:5], self.cells)
        return self._canvas(crops, self._choose(crops, drawn[:, 5:]))

    def centre_crops(self, uniform: int | None, multiplier: float = 0.0) -> tuple[Canvas, Tensor]:
        """Return the centre of every picture, `[pictures, …]`, at one rate or by Lagrangian choice: for validation."""
        pool, count = self.pool, len(self.pool)
        index = torch.arange(count, device=pool.device)
        crops = Crops(index, (pool.rows - self.cells) // 2, (pool.columns - self.cells) // 2, index * 0)
        if uniform is not None:
            cells = torch.full((count, self.cells, self.cells), uniform, device=pool.device)
        else:
            phase = index % self._block_cells
            multipliers = torch.full((count,), multiplier, device=pool.device)
            cells = self._lagrangian(crops, multipliers, phase, phase.flip(0))
        return self._canvas(crops, cells)

    def _canvas(self, crops: Crops, cells: Tensor) -> tuple[Canvas, Tensor]:
        rates = sorted({1, *self.settings.rates})
        planes = {rate: gather(self.pool, self.pool.planes[rate], crops, self.cells, rate) for rate in rates}
        return make_canvas(planes, cells), planes[1] / 255

    def _choose(self, crops: Crops, drawn: Tensor) -> Tensor:
        """Return the rate of every cell, `int64 [N, n, n]`: uniform, or per block at random or by Lagrangian choice."""
        settings, count = self.settings, len(drawn)
        if settings.uniform_rate is not None:
            full = (count, self.cells, self.cells)
            return torch.full(full, settings.uniform_rate, device=drawn.device)
        kind = drawn[:, 0, None, None]
        uniform = self._uniform[scaled(drawn[:, 1], len(self._uniform))][:, None, None]
        low, high = (math.log(bound) for bound in LAMBDA)
        multiplier = (low + drawn[:, 1] * (high - low)).exp().float()
        phases = scaled(drawn[:, 2:4], self._block_cells).unbind(1)
        rows, columns = (block_of_cell(phase, self.cells, self._block_cells) for phase in phases)
        noise = drawn[:, 4:].view(count, self._blocks, self._blocks)
        random = self._rates[expand_blocks(scaled(noise, len(self._rates)), rows, columns)]
        cells = torch.where(
            kind < UNIFORM_SHARE + RANDOM_SHARE, random, self._lagrangian(crops, multiplier, *phases)
        )
        return torch.where(kind < UNIFORM_SHARE, uniform, cells)

    def _lagrangian(self, crops: Crops, multiplier: Tensor, top: Tensor, left: Tensor) -> Tensor:
        errors = gather_cells(self.pool, self.pool.errors, crops, self.cells)
        rows, columns = (block_of_cell(phase, self.cells, self._block_cells) for phase in (top, left))
        choice = lagrangian(errors, multiplier, rows, columns, self._blocks, self.settings.palette)
        return self._rates[expand_blocks(choice, rows, columns)]
