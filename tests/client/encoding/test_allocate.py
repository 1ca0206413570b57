"""Allocation: the budget is met, no improving step is left, and the result is never worse than uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbmr_client.encoding.allocate import allocate
from bbmr_client.encoding.encoder import encode
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import RATES, BlockGrid
from tests.hypothesis_profiles import examples


def tables(seed: int, rows: int = 3, cols: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Costs of a grid whose last row and column are smaller, and distortions that grow with the rate."""
    rng = np.random.default_rng(seed)
    areas = BlockGrid(cols * 128 - 48, rows * 128 - 80).areas().astype(float)
    cost = np.stack([areas / rate**2 for rate in RATES])
    growth = rng.exponential(1, (len(RATES), rows, cols)) * rng.exponential(1, (rows, cols)) ** 3
    growth[0] = 0
    return cost, np.cumsum(growth, axis=0) * areas


def total(table: np.ndarray, choice: np.ndarray) -> float:
    return float(np.take_along_axis(table, choice[None], 0).sum())


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 10_000), st.floats(1, 16))
def test_budget_is_met_and_no_improving_step_is_left(seed: int, rate: float) -> None:
    cost, distortion = tables(seed)
    budget = cost[0].sum() / rate**2
    choice = allocate(cost, distortion, budget)
    slack = budget - total(cost, choice)
    assert slack >= 0
    steps = cost - np.take_along_axis(cost, choice[None], 0)
    better = distortion < np.take_along_axis(distortion, choice[None], 0)
    assert not (better & (steps <= slack)).any()


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(range(len(RATES))))
def test_never_worse_than_uniform_and_never_dearer(seed: int, index: int) -> None:
    cost, distortion = tables(seed)
    choice = allocate(cost, distortion, cost[index].sum(), index)
    assert total(cost, choice) <= cost[index].sum()
    assert total(distortion, choice) <= distortion[index].sum()


def test_uniform_wins_where_lagrange_cannot_reach_it() -> None:
    """Rate 2 lies above the hull of rates 1 and 4 in every block, and only two whole rates fit the budget."""
    cost = np.array([16.0, 4.0, 1.0])[:, None, None].repeat(2, axis=2)
    distortion = np.array([0.0, 80.0, 90.0])[:, None, None].repeat(2, axis=2)
    choice = allocate(cost, distortion, 8, baseline=1)
    assert total(distortion, choice) == 160
    assert (choice == 1).all()


def test_one_detailed_block_gets_the_samples_of_the_flat_ones() -> None:
    cost, distortion = tables(0)
    distortion[:] = 0
    distortion[1:, 0, 0] = [10, 100, 1000, 10_000]
    choice = allocate(cost, distortion, cost[1].sum(), 1)
    assert choice[0, 0] == 0
    assert (choice.ravel()[1:] == len(RATES) - 1).all()


def test_equal_blocks_fill_the_budget() -> None:
    cost = np.array([16.0, 4.0, 1.0])[:, None, None].repeat(40, axis=1).repeat(50, axis=2)
    distortion = np.array([0.0, 10.0, 40.0])[:, None, None].repeat(40, axis=1).repeat(50, axis=2)
    budget = 2000 * 4.0 + 6 * 12 + 5
    choice = allocate(cost, distortion, budget)
    assert budget - total(cost, choice) < 12


def test_an_impossible_budget_is_an_error() -> None:
    cost, distortion = tables(0)
    with pytest.raises(UsageError, match="coarser"):
        allocate(cost[:3], distortion[:3], cost[3].sum())


@pytest.mark.parametrize("rate", [1, 1.5, 2, 3.7, 4, 8, 16])
def test_encoding_keeps_at_most_the_samples_asked_for(rate: float) -> None:
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (300, 470, 3), dtype=np.uint8)
    photo[:, 200:] //= 8
    photo[150:] = 90
    container = encode(photo, rate=rate)
    assert container.samples <= container.grid.areas().sum() / rate**2
