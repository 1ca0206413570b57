"""Surveys: what a photo, or a sample of its rows, would need and lose at each rate, told by fast trials."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.block_statistics import BlockStatistics
from bbmr_shared.container.planes import keep_blocks
from bbmr_shared.grid import RATES, BlockGrid

from .block_bytes import block_bytes
from .candidates import Candidate, RateTable
from .downscale import bicubic_planes
from .network_effect import NetworkEffect
from .operating_points import PlaneSettings
from .trial import Trial, expected_bytes, run_trial

_STRIPE = 64
_PERIODS = ((700_000, 1), (1_500_000, 2), (6_000_000, 4), (2**62, 8))
"""(Pixels up to which, one of so many stripes of 64 rows is in the sample)."""
_PYRAMID = 3
"""Steps of the pyramid that the network's effect is predicted from."""
_PYRAMID_SHARE = 0.88
"""Error of enlarging by 4 or more at once, per sum of the errors of the steps."""


def sample_rows(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns stripes of a padded picture, `uint8 [H, W, 3]`, one above the other; of a small picture all of it."""
    height, width = padded.shape[:2]
    period = next(period for most, period in _PERIODS if height * width <= most)
    if period == 1 or height < 2 * period * _STRIPE:
        return padded
    first = period // 2 * _STRIPE
    stripes = [padded[top : top + _STRIPE] for top in range(first, height - _STRIPE + 1, period * _STRIPE)]
    return np.concatenate(stripes)


class Survey:
    """Trials of a picture at all rates and qualities that are asked for; each is run once.

    Args:
        padded: `uint8 [H, W, 3]`; H and W are multiples of 16.
        grey: whether planes are coded as grey.
        block: side of a block.
        model: the weights by which the rates are chosen; None: there is no network.
        before_step: called before each step that takes long.
    """

    def __init__(
        self,
        padded: NDArray[np.uint8],
        grey: bool,
        block: int,
        model: str | None,
        before_step: Callable[[], object],
    ) -> None:
        height, width = padded.shape[:2]
        self.grid = BlockGrid(width, height, block)
        self._grey, self._model, self._before_step = grey, model, before_step
        self._planes = {1: padded}
        self._statistics: dict[int, BlockStatistics] = {}
        self._steps: dict[int, NDArray[np.float64]] = {}
        self._trials: dict[tuple[int, int], Trial] = {}
        self._tables: dict[tuple[int, PlaneSettings], RateTable] = {}

    @property
    def pixels(self) -> int:
        """Returns how many pixels are surveyed."""
        return self.grid.padded_width * self.grid.padded_height

    def table(self, rate: int, settings: PlaneSettings) -> RateTable:
        """Returns what each block needs and loses if the whole picture has `rate`."""
        key = rate, settings
        if key not in self._tables:
            self._before_step()
            samples = self._samples(rate)
            statistics = {at: self._statistics_at(at) for at in {1, rate}}
            similar = self._trials.get((rate, settings.quality))
            trial = run_trial(samples, rate, settings, statistics, self._downscaling_errors(rate), similar)
            self._trials.setdefault((rate, settings.quality), trial)
            expected, strength = self._effect.expect(trial)
            self._tables[key] = RateTable(settings, strength, trial.bytes, expected)
        return self._tables[key]

    def block_bytes(self, rate: int, table: RateTable) -> NDArray[np.float64]:
        """Returns the bytes of each block in the plane of a table, `[rows, cols]`."""
        return block_bytes(self._samples(rate), rate, self.grid, table.settings.quality, table.bytes)

    def tried(self, candidate: Candidate) -> float:
        """Returns the bytes of all planes of a candidate, from trials."""
        total = 0.0
        for rate, settings in candidate.settings.items():
            self._before_step()
            total += expected_bytes(self.kept(candidate.rate_map, rate), rate, settings)
        return total

    def kept(self, rate_map: NDArray[np.uint8], rate: int) -> NDArray[np.uint8]:
        """Returns the samples of a plane: of the blocks of its rate, grey elsewhere."""
        if (rate_map == rate).all():
            return self._samples(rate)
        samples = keep_blocks(self._plane(rate), rate, rate_map, self.grid)
        return samples[..., 0] if self._grey else samples

    def _plane(self, rate: int) -> NDArray[np.uint8]:
        if rate not in self._planes:
            self._planes |= bicubic_planes(self._planes[1], [rate])
        return self._planes[rate]

    def _samples(self, rate: int) -> NDArray[np.uint8]:
        plane = self._plane(rate)
        return plane[..., 0] if self._grey else plane

    def _statistics_at(self, rate: int) -> BlockStatistics:
        if rate not in self._statistics:
            self._statistics[rate] = BlockStatistics(self._plane(rate), self.grid, rate)
        return self._statistics[rate]

    def _step(self, rate: int) -> NDArray[np.float64]:
        """Squared errors of the blocks of the plane of `rate` against that of 2 · `rate`: `[rows, cols]`."""
        if rate not in self._steps:
            self._steps[rate] = self._statistics_at(rate).errors(self._plane(2 * rate), 2)
        return self._steps[rate]

    def _downscaling_errors(self, rate: int) -> NDArray[np.float64]:
        """Squared errors of the blocks by downscaling alone, from the steps of the pyramid."""
        steps = [self._step(finer) * finer**2 for finer in RATES if finer < rate]
        if not steps:
            return np.zeros(self.grid.shape)
        return np.asarray(np.sum(steps, axis=0) * (1.0 if rate == 2 else _PYRAMID_SHARE))

    @cached_property
    def _effect(self) -> NetworkEffect:
        areas = self.grid.areas()
        if self._model is None:
            return NetworkEffect(None, areas, np.zeros((0, areas.size)), np.zeros((0, areas.size)))
        pyramid = np.stack([self._step(rate) / (areas / rate**2) for rate in RATES[:_PYRAMID]])
        return NetworkEffect(self._model, areas, pyramid, self._statistics_at(1).gradient_moments())
