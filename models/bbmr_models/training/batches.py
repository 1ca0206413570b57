"""Batches: random crops with random rate maps, composited into the canvas that the network sees.

In: the pool. Out: `Canvas` and target. Crops start at multiples of 16 and blocks at any of them, so the block
borders are anywhere in a crop; flips and rotations commute with the planes, so these are made once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bbmr_shared.composite import MAX_LEVEL
from bbmr_shared.grid import ALIGN, BLOCK, RATES

from ..composite import expand_cells, pyramid, to_base
from ..jointsr import GRID, Canvas
from .pool import Entry

LAMBDA = (20.0, 5000.0)
"""Range of the Lagrange multiplier (squared error a pixel per sample a pixel), drawn log-uniformly."""
UNIFORM_SHARE, RANDOM_SHARE = 1 / 6, 1 / 6
UNIFORM_RATES = (2, 4, 4, 8)
BLOCK_CELLS = BLOCK // ALIGN
_SAMPLES = np.array([1 / rate**2 for rate in RATES])


class Sampler:
    """Draws batches; its whole state is one numpy generator."""

    def __init__(
        self, pool: Sequence[Entry], crop: int, batch: int, seed: int, uniform_only: int | None = None
    ) -> None:
        """`uniform_only` trains for that one rate over the whole picture (the paper's baseline)."""
        self.pool, self.crop, self.batch, self.uniform_only = pool, crop, batch, uniform_only
        self.rng = np.random.default_rng(seed)
        areas = np.array([entry.errors[0].size for entry in pool], np.float64)
        self._weights = areas / areas.sum()

    def draw(self, device: torch.device | str = "cpu") -> tuple[Canvas, Tensor]:
        """`Canvas` of `[batch, …]` and the target, float32 `[batch, 3, crop, crop]` in 0 … 1."""
        crops = [self._crop(int(index)) for index in self._pictures()]
        planes = {
            rate: torch.from_numpy(np.stack([crop[0][rate] for crop in crops])).to(device).float()
            for rate in RATES
        }
        cells = torch.from_numpy(np.stack([crop[1] for crop in crops])).to(device)
        return make_canvas(planes, cells), planes[1] / 255

    def draw_fixed(
        self, uniform: int | None, multiplier: float | None, device: torch.device | str = "cpu"
    ) -> tuple[Canvas, Tensor]:
        """The centre of the first picture, `[1, …]`, at one rate or by Lagrangian choice: for validation."""
        entry, side = self.pool[0], self.crop // ALIGN
        top, left = ((count - side) // 2 for count in entry.errors.shape[1:])
        errors = entry.errors[:, top : top + side, left : left + side]
        if uniform is not None:
            cells = np.full(errors.shape[1:], uniform)
        else:
            cells = self._lagrangian(errors, float(multiplier or 0))
        planes = {
            rate: torch.from_numpy(plane.copy()).permute(2, 0, 1)[None].to(device).float()
            for rate, plane in _window(entry, top, left, side).items()
        }
        return make_canvas(planes, torch.from_numpy(cells)[None].to(device)), planes[1] / 255

    def _pictures(self) -> NDArray[np.int64]:
        return self.rng.choice(len(self.pool), size=self.batch, p=self._weights)

    def _crop(self, index: int) -> tuple[dict[int, NDArray[np.uint8]], NDArray[np.int64]]:
        """Planes `[3, crop/r, crop/r]` of one augmented crop, and the rate of each of its cells."""
        entry, side = self.pool[index], self.crop // ALIGN
        _, rows, cols = entry.errors.shape
        top, left = (int(self.rng.integers(0, count - side + 1)) for count in (rows, cols))
        cells = self._rates(entry.errors[:, top : top + side, left : left + side])
        turns, flip = int(self.rng.integers(4)), bool(self.rng.integers(2))

        def augment(array: NDArray[np.generic]) -> NDArray[np.generic]:
            turned = np.rot90(array, turns)
            return turned[:, ::-1] if flip else turned

        planes = {
            rate: np.ascontiguousarray(augment(window).transpose(2, 0, 1))
            for rate, window in _window(entry, top, left, side).items()
        }
        return planes, np.ascontiguousarray(augment(cells))

    def _rates(self, errors: NDArray[np.float32]) -> NDArray[np.int64]:
        """A rate map for the cells of a crop, `[rates, n, n]` → `int64 [n, n]`."""
        if self.uniform_only is not None:
            return np.full(errors.shape[1:], self.uniform_only)
        kind = self.rng.random()
        if kind < UNIFORM_SHARE:
            return np.full(errors.shape[1:], self.rng.choice(UNIFORM_RATES))
        if kind < UNIFORM_SHARE + RANDOM_SHARE:
            return self._random(errors.shape[1:])
        return self._lagrangian(errors, float(np.exp(self.rng.uniform(*np.log(LAMBDA)))))

    def _random(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        (_, rows), (_, cols) = (self._blocks(count) for count in shape)
        choice = self.rng.integers(0, len(RATES), size=(rows[-1] + 1, cols[-1] + 1))
        return np.array(RATES)[choice[rows][:, cols]]

    def _lagrangian(self, errors: NDArray[np.float32], multiplier: float) -> NDArray[np.int64]:
        (tops, rows), (lefts, cols) = (self._blocks(count) for count in errors.shape[1:])
        sums = np.add.reduceat(np.add.reduceat(errors, tops, axis=1), lefts, axis=2)
        areas = np.outer(np.bincount(rows), np.bincount(cols)) * ALIGN**2
        choice = (sums / areas + multiplier * _SAMPLES[:, None, None]).argmin(axis=0)
        return np.array(RATES)[choice[rows][:, cols]]

    def _blocks(self, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First cell of each block and block of each cell along one axis, at a random phase of the grid."""
        groups = (np.arange(cells) + self.rng.integers(BLOCK_CELLS)) // BLOCK_CELLS
        groups -= groups[0]
        return np.searchsorted(groups, np.arange(groups[-1] + 1)), groups


def _window(entry: Entry, top: int, left: int, side: int) -> dict[int, NDArray[np.uint8]]:
    """The planes of `side`×`side` cells from cell (top, left): rate → `[side·16/rate, side·16/rate, 3]`."""
    planes = {}
    for rate, plane in entry.planes.items():
        step = ALIGN // rate
        planes[rate] = plane[top * step : (top + side) * step, left * step : (left + side) * step]
    return planes


def make_canvas(planes: dict[int, Tensor], cells: Tensor) -> Canvas:
    """Composite a batch of lossless planes (0 … 255) under the rates of its cells."""
    levels = pyramid(planes, cells)
    rate = expand_cells(cells, GRID)
    return Canvas(
        base=to_base(levels[1]) / 255,
        half=levels[2] / MAX_LEVEL,
        quarter=levels[4] / MAX_LEVEL,
        rate=rate,
        error=torch.zeros_like(rate, dtype=torch.float32),
    )
