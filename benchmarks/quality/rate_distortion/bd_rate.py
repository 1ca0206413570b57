"""Bjøntegaard's delta rate of two curves (VCEG-M33, 2001), within a range of bit rates.

The logarithm of the rate is interpolated over the score (dB) by a piecewise cubic (PCHIP) through all points and
integrated over the scores that both curves reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_REACHED = 1 / 3
_BISECTIONS = 60


@dataclass(frozen=True)
class Curve:
    """Rates in bits per pixel and scores, both strictly ascending; the score is in dB, or a metric of its own scale."""

    rates: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.scores) or len(self.rates) < 2:
            raise ValueError("a curve has at least two points, and a score for each rate")
        if not (_ascends(self.rates) and _ascends(self.scores) and self.rates[0] > 0):
            raise ValueError("rates and scores of a curve must ascend strictly, from a rate over 0")

    @cached_property
    def log_rate(self) -> Any:
        """The interpolant: score → natural logarithm of the rate."""
        from scipy.interpolate import PchipInterpolator

        return PchipInterpolator(self.scores, np.log(self.rates))

    def score_at(self, rate: float) -> float:
        """Return the score at a rate; outside the curve that of its nearest end."""
        low, high = self.scores[0], self.scores[-1]
        if rate <= self.rates[0] or rate >= self.rates[-1]:
            return low if rate <= self.rates[0] else high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.log_rate(middle) < math.log(rate) else (low, middle)
        return low

    def rate_at(self, score: float) -> float:
        """Return the rate at a score; nan outside the curve."""
        inside = self.scores[0] <= score <= self.scores[-1]
        return math.exp(float(self.log_rate(score))) if inside else math.nan


@dataclass(frozen=True)
class Delta:
    """A BD-rate.

    Attributes:
        percent: mean difference of the rate at equal score; negative if the tested curve needs fewer bytes.
        covered: share of the anchor's scores between the two rates that the tested curve reaches, 0 … 1.
    """

    percent: float
    covered: float


def bd_rate(anchor: Curve, test: Curve, low: float = 0.0, high: float = math.inf) -> Delta | None:
    """Return the BD-rate of `test` against `anchor` between two rates of the anchor, in bits per pixel.

    The integral goes over the scores that the anchor has between these rates and that the tested curve reaches, at
    whatever rate: so all codecs are compared at the same qualities. None, no figure: there are no such scores, or the
    anchor reaches less than a third of the range, by the logarithm of the rate.
    """
    if _reached(anchor, low, high) < LEAST_REACHED:
        return None
    bottom, top = anchor.score_at(low), anchor.score_at(high)
    start, stop = max(bottom, test.scores[0]), min(top, test.scores[-1])
    if start >= stop:
        return None
    difference = test.log_rate.integrate(start, stop) - anchor.log_rate.integrate(start, stop)
    percent = 100 * math.expm1(float(difference) / (stop - start))
    return Delta(percent, (stop - start) / (top - bottom))


def undominated(points: Iterable[tuple[float, float]]) -> list[int]:
    """Return the indices of (rate, score) pairs to which no other has at most the rate and at least the score."""
    pairs = list(points)
    kept: list[int] = []
    for index in sorted(range(len(pairs)), key=lambda i: (pairs[i][0], -pairs[i][1])):
        if not kept or pairs[index][1] > pairs[kept[-1]][1]:
            kept.append(index)
    return kept


def convex_hull(points: Iterable[tuple[float, float]]) -> list[int]:
    """Return the indices of the lower left convex hull of (rate, error) pairs, ascending in rate."""
    pairs = list(points)
    hull: list[int] = []
    for index in undominated((rate, -error) for rate, error in pairs):
        while len(hull) > 1 and not _is_below(pairs[hull[-1]], pairs[hull[-2]], pairs[index]):
            hull.pop()
        hull.append(index)
    return hull


def _is_below(point: tuple[float, float], left: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether a point lies below the line from `left` to `right`."""
    share = (point[0] - left[0]) / (right[0] - left[0])
    return point[1] < left[1] + share * (right[1] - left[1])


def _reached(curve: Curve, low: float, high: float) -> float:
    """Return the share of a range of rates, in logarithms, that a curve lies in; 1 for a range that has no bounds."""
    lowest, highest = max(low, curve.rates[0]), min(high, curve.rates[-1])
    if lowest >= highest:
        return 0.0
    bounded = low > 0 and math.isfinite(high)
    return math.log(highest / lowest) / math.log(high / low) if bounded else 1.0


def _ascends(values: tuple[float, ...] | NDArray[np.float64]) -> bool:
    return bool(np.all(np.diff(values) > 0))
