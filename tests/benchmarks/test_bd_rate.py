"""BD-rates against curves whose answer is known by hand, and against a published implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.quality.rate_distortion.bd_rate import Curve, bd_rate, convex_hull, undominated

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
SCORES = (30.0, 33.0, 36.5, 39.0, 41.0)


def curve(factor: float = 1.0, shift: float = 0.0) -> Curve:
    """The curve above, with rates times a factor and scores plus a shift."""
    return Curve(tuple(rate * factor for rate in RATES), tuple(score + shift for score in SCORES))


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.25])
def test_equal_scores_at_a_factor_of_the_rate_give_that_factor(factor: float) -> None:
    delta = bd_rate(curve(), curve(factor))
    assert delta is not None
    assert delta.percent == pytest.approx(100 * (factor - 1))
    assert delta.covered == 1


def test_a_shift_of_a_straight_curve_is_its_slope() -> None:
    """3 dB an octave: one dB more is a third of an octave fewer bytes."""
    straight = Curve(RATES, (30.0, 33.0, 36.0, 39.0, 42.0))
    better = Curve(RATES, (31.0, 34.0, 37.0, 40.0, 43.0))
    delta = bd_rate(straight, better)
    assert delta is not None
    assert delta.percent == pytest.approx(100 * (2 ** (-1 / 3) - 1))
    assert delta.covered == pytest.approx(11 / 12)


def test_a_range_counts_only_what_lies_in_it() -> None:
    """A curve with half the rate up to 33 dB and the same from 36.5 dB on."""
    mixed = Curve((0.025, 0.05, 0.2, 0.4, 0.8), SCORES)
    below = bd_rate(curve(), mixed, 0.05, 0.1)
    above = bd_rate(curve(), mixed, 0.4, 0.8)
    assert below is not None
    assert above is not None
    assert below.percent == pytest.approx(-50, abs=3)
    assert above.percent == pytest.approx(0, abs=1e-9)


def test_the_ends_of_a_range_lie_on_the_curve() -> None:
    """Cut between two points, the integral uses the curve through all of them."""
    delta = bd_rate(curve(), curve(0.9), 0.07, 0.6)
    assert delta is not None
    assert delta.percent == pytest.approx(-10)
    assert curve().rate_at(curve().score_at(0.07)) == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("test", "low", "high"),
    [
        (curve(shift=20), 0.0, math.inf),
        (curve(), 1.0, 2.0),
        (curve(shift=7), 0.05, 0.2),
        (curve(), 0.005, 0.06),
    ],
    ids=["scores apart", "anchor outside the range", "scores apart within the range", "anchor hardly inside"],
)
def test_without_an_overlap_there_is_no_figure(test: Curve, low: float, high: float) -> None:
    assert bd_rate(curve(), test, low, high) is None


def test_a_curve_must_ascend() -> None:
    for rates, scores in [((0.1,), (30.0,)), ((0.1, 0.2), (30.0, 30.0)), ((0.2, 0.1), (30.0, 31.0))]:
        with pytest.raises(ValueError, match="curve"):
            Curve(rates, scores)


def test_the_figures_are_those_of_a_published_implementation() -> None:
    bjontegaard = pytest.importorskip("bjontegaard")
    rng = np.random.default_rng(3)
    for _ in range(20):
        first, second = (
            Curve(
                tuple(np.cumsum(rng.uniform(0.03, 0.2, 6))),
                tuple(30 + rng.uniform(0, 2) + np.cumsum(rng.uniform(0.5, 3, 6))),
            )
            for _ in range(2)
        )
        expected = bjontegaard.bd_rate(
            first.rates, first.scores, second.rates, second.scores, method="pchip", min_overlap=0
        )
        delta = bd_rate(first, second)
        assert delta is not None
        assert delta.percent == pytest.approx(expected, rel=1e-9)


def test_the_hull_leaves_out_what_lies_above_a_line_between_others() -> None:
    points = [(1.0, 10.0), (2.0, 7.0), (3.0, 2.0), (3.0, 2.5), (4.0, 2.0), (5.0, 1.0), (6.0, 1.5)]
    assert convex_hull(points) == [0, 2, 5]
    assert convex_hull(reversed(points)) == [6, 4, 1]


def test_undominated_points_ascend_in_both() -> None:
    assert undominated([(1.0, 5.0), (2.0, 4.0), (2.0, 6.0), (3.0, 6.0), (4.0, 9.0)]) == [0, 2, 4]
