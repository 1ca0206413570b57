"""Candidates: ways to code a photo, each a rate map with one setting for the plane of each rate, and their costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .operating_points import PlaneSettings, multiplier

PLANE_BYTES = 90
"""What one more plane costs beside its samples: its entry in the header, its AV1 headers, and a rate map."""
_BORDERS = 1.06
"""A plane with the blocks of one rate takes so many times the bytes of these blocks in the whole picture."""
_WORTH_A_TRIAL = 0.98
"""A mixed map is tried where it is expected to cost at most this share of the best single rate."""


@dataclass(frozen=True)
class Candidate:
    """A rate map and what it is expected to need.

    Attributes:
        rate_map: `uint8 [rows, cols]`.
        settings: rate → how its plane is coded.
        strength: of the network, in halves.
        bytes: of all planes.
        error: squared error after the network, summed over the padded picture.
    """

    rate_map: NDArray[np.uint8]
    settings: Mapping[int, PlaneSettings]
    strength: int
    bytes: float
    error: float

    def cost(self, quality: float) -> float:
        """Returns error + λ · bits."""
        return self.error + multiplier(quality) * 8 * (self.bytes + PLANE_BYTES * (len(self.settings) - 1))


@dataclass(frozen=True)
class RateTable:
    """What each block is expected to need if the whole picture has one rate.

    Attributes:
        settings: of its plane.
        strength: of the network.
        bytes: of its plane.
        errors: of each block, `float64 [rows, cols]`.
    """

    settings: PlaneSettings
    strength: int
    bytes: float
    errors: NDArray[np.float64]

    def uniform(self, rate: int) -> Candidate:
        """Returns the candidate with every block at `rate`."""
        rate_map = np.full(self.errors.shape, rate, np.uint8)
        return Candidate(rate_map, {rate: self.settings}, self.strength, self.bytes, float(self.errors.sum()))


def mixed(
    tables: Mapping[int, RateTable],
    block_bytes: Callable[[int, RateTable], NDArray[np.float64]],
    quality: float,
    best: Candidate,
) -> Candidate | None:
    """Returns the candidate in which each block has its own best rate, or None if it is not worth a trial.

    Args:
        tables: rate → the best table of that rate.
        block_bytes: returns the bytes of each block for a rate and its table, `[rows, cols]`.
        quality: 0 … 100.
        best: the best candidate with one rate.
    """
    if len(tables) < 2:
        return None
    rates = sorted(tables)
    home = rates.index(int(best.rate_map.flat[0]))
    sizes = np.stack([block_bytes(rate, tables[rate]) for rate in rates])
    losses = np.stack([tables[rate].errors for rate in rates])
    costs = losses + multiplier(quality) * 8 * _BORDERS * sizes
    choice = _without_single_blocks(costs.argmin(axis=0), home)
    used = np.unique(choice)
    if len(used) < 2:
        return None
    size, loss = (float(np.take_along_axis(table, choice[None], 0).sum()) for table in (sizes, losses))
    candidate = Candidate(
        np.asarray(rates, np.uint8)[choice],
        {rates[index]: tables[rates[index]].settings for index in used.tolist()},
        max(tables[rates[index]].strength for index in used.tolist()),
        size * _BORDERS,
        loss,
    )
    return candidate if candidate.cost(quality) < _WORTH_A_TRIAL * best.cost(quality) else None


def best_tables(found: Sequence[tuple[int, RateTable]], quality: float) -> dict[int, RateTable]:
    """Returns rate → the table of least cost."""
    best: dict[int, RateTable] = {}
    for rate, table in found:
        here = table.uniform(rate).cost(quality)
        if rate not in best or here < best[rate].uniform(rate).cost(quality):
            best[rate] = table
    return best


def _without_single_blocks(choice: NDArray[np.intp], home: int) -> NDArray[np.intp]:
    """The choice, with blocks that no neighbour agrees with set to `home`: their borders cost more than they gain."""
    padded = np.pad(choice, 1, constant_values=-1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    alone = np.all([choice != other for other in neighbours], axis=0)
    return np.where(alone, home, choice)
