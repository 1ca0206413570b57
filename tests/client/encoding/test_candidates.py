"""The choice between rate maps by error + λ · bits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bbmr_client.encoding.candidates import PLANE_BYTES, RateTable, best_tables, mixed
from bbmr_client.encoding.operating_points import PlaneSettings, multiplier

QUALITY = 30


def table(bytes: float, error: float, shape: tuple[int, int] = (6, 6), quality: int = 30) -> RateTable:
    """A table in which all blocks are alike."""
    settings = PlaneSettings(quality, "4:2:0", 6)
    return RateTable(settings, 2, float(bytes) * shape[0] * shape[1], np.full(shape, float(error)))


def alike(rate: int, table: RateTable) -> NDArray[np.float64]:
    """Every block takes as many bytes."""
    return np.full(table.errors.shape, table.bytes / table.errors.size)


def test_the_cost_counts_every_further_plane() -> None:
    candidate = table(100, 5000).uniform(2)
    assert candidate.bytes == 3600
    assert candidate.error == 180_000
    assert candidate.cost(QUALITY) == pytest.approx(180_000 + multiplier(QUALITY) * 8 * 3600)
    two = RateTable(candidate.settings[2], 2, 3600.0, np.full((6, 6), 5000.0)).uniform(2)
    both = type(two)(two.rate_map, {1: two.settings[2], 2: two.settings[2]}, 2, two.bytes, two.error)
    assert both.cost(QUALITY) - two.cost(QUALITY) == pytest.approx(multiplier(QUALITY) * 8 * PLANE_BYTES)


def test_halves_of_different_kinds_are_mixed() -> None:
    smooth, sharp = table(50, 1000), table(400, 1000)
    smooth.errors[:, 3:] = 5_000_000  # at the coarse rate, the right half is lost
    candidate = mixed({1: sharp, 2: smooth}, alike, QUALITY, sharp.uniform(1))
    assert candidate is not None
    assert (candidate.rate_map[:, :3] == 2).all()
    assert (candidate.rate_map[:, 3:] == 1).all()
    assert set(candidate.settings) == {1, 2}
    assert candidate.cost(QUALITY) < sharp.uniform(1).cost(QUALITY)


def test_a_single_block_keeps_the_rate_of_its_neighbours() -> None:
    fine, coarse = table(400, 1000), table(300, 1000)
    coarse.errors[2, 2] = 90_000_000
    assert mixed({1: fine, 2: coarse}, alike, QUALITY, coarse.uniform(2)) is None


def test_a_small_gain_is_not_worth_a_trial() -> None:
    fine, coarse = table(100, 1000), table(100, 1000)
    sizes = {1: np.full((6, 6), 100.0), 2: np.full((6, 6), 100.0)}
    sizes[2][:3] = 99
    assert mixed({1: fine, 2: coarse}, lambda rate, _: sizes[rate], QUALITY, fine.uniform(1)) is None
    assert mixed({1: fine}, alike, QUALITY, fine.uniform(1)) is None


def test_the_best_chroma_format_of_each_rate() -> None:
    worse, better, other = table(100, 9000), table(90, 9000, quality=31), table(50, 100)
    assert best_tables([(1, worse), (2, other), (1, better)], QUALITY) == {1: better, 2: other}
