"""Allocation: chooses a rate for each block so that the distortion is small and the cost stays within a budget.

The caller, `rate_map.choose_rates`, decides which distortion counts, and what the cost is (here: samples).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.errors import UsageError

Table = NDArray[np.float64]
Choice = NDArray[np.intp]

_BISECTIONS = 64


def allocate(cost: Table, distortion: Table, budget: float, baseline: int | None = None) -> Choice:
    """Choose one rate for every block so that Σ cost ≤ `budget` and Σ distortion is small.

    Takes the Lagrangian minimum for the smallest λ that meets the budget (Shoham & Gersho, 1988). Then spends the rest
    of the budget on single blocks, best gain per cost first, until no improving step fits.

    Args:
        cost: `[rates, rows, cols]`, ≥ 0, any unit.
        distortion: `[rates, rows, cols]`, ≥ 0.
        budget: in the unit of `cost`.
        baseline: index of a rate; "every block at this rate" is also a candidate if it meets the budget, so the
            choice is never worse than that.

    Returns:
        `[rows, cols]`, index into the first axis.

    Raises:
        UsageError: even the cheapest choice is over the budget.
    """
    cheapest = _choose(cost, distortion, np.inf)
    if _total(cost, cheapest) > budget:
        raise UsageError("the budget is below what the coarsest allowed rate needs; allow a coarser rate")
    choice = _spend(cost, distortion, budget, _lagrangian(cost, distortion, budget, cheapest))
    if baseline is not None:
        uniform = np.full(cost.shape[1:], baseline, dtype=np.intp)
        if _total(cost, uniform) <= budget and _total(distortion, uniform) <= _total(distortion, choice):
            return uniform
    return choice


def _lagrangian(cost: Table, distortion: Table, budget: float, cheapest: Choice) -> Choice:
    best = _choose(cost, distortion, 0.0)
    if _total(cost, best) <= budget:
        return best
    # The choice between two rates of a block changes at λ = (difference of distortion) / (difference of cost).
    low, high = 0.0, float(distortion.max() / max(_smallest_step(cost), 1e-12)) + 1.0
    best = cheapest
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        choice = _choose(cost, distortion, middle)
        if _total(cost, choice) <= budget:
            high, best = middle, choice
        else:
            low = middle
    return best


def _spend(cost: Table, distortion: Table, budget: float, choice: Choice) -> Choice:
    """Spend the rest of the budget: repeatedly the improving steps of single blocks that fit, best ratio first."""
    choice = choice.copy()
    while True:
        slack = budget - _total(cost, choice)
        here = choice[None]
        price = cost - np.take_along_axis(cost, here, 0)
        gain = np.take_along_axis(distortion, here, 0) - distortion
        usable = (gain > 0) & (price <= slack)
        if not usable.any():
            return choice
        ratio = np.where(usable, gain / np.maximum(price, 1e-12), -1.0)
        step = ratio.argmax(axis=0)
        best = np.take_along_axis(ratio, step[None], 0)[0].ravel()
        steps_price = np.take_along_axis(price, step[None], 0)[0].ravel()
        order = np.argsort(-best, kind="stable")
        order = order[best[order] >= 0]
        fits = np.cumsum(np.maximum(steps_price[order], 0)) <= slack
        taken = order[: max(1, int(fits.argmin()) if not fits.all() else len(order))]
        choice.ravel()[taken] = step.ravel()[taken]


def _choose(cost: Table, distortion: Table, multiplier: float) -> Choice:
    """The minimum of distortion + λ·cost for every block; the cheaper of equal ones. λ = ∞ compares the cost first."""
    if np.isinf(multiplier):
        first, second = cost, distortion
    else:
        first, second = distortion + multiplier * cost, cost
    lowest = first.min(axis=0)
    return np.asarray(np.where(first <= lowest, second, np.inf).argmin(axis=0))


def _total(table: Table, choice: Choice) -> float:
    return float(np.take_along_axis(table, choice[None], 0).sum())


def _smallest_step(cost: Table) -> float:
    steps = np.abs(np.diff(cost, axis=0))
    positive = steps[steps > 0]
    return float(positive.min()) if positive.size else 1.0
