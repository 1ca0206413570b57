"""The choice between rate maps by error + λ · bits."""

from __future__ import annotations

import numpy as np
import pytest

from bbmr_client.encoding.candidates import PLANE_BYTES, RateTable, best_tables, mixed
from bbmr_client.encoding.operating_points import PlaneSettings, multiplier

QUALITY = 30


def table(bytes: float, error: float, shape: tuple[int, int] = (6, 6), quality: int = 30) -> RateTable:
    """A table in which all blocks are alike."""
    return RateTable(
        PlaneSettings(quality, "4:2:0", 6), 2, np.full(shape, float(bytes)), np.full(shape, float(error))
    )


def test_the_cost_counts_every_further_plane() -> None:
    candidate = table(100, 5000).uniform(2)
    assert candidate.bytes == 3600
    assert candidate.error == 180_000
    assert candidate.cost(QUALITY) == pytest.approx(180_000 + multiplier(QUALITY) * 8 * 3600)
    two = RateTable(candidate.settings[2], 2, np.full((6, 6), 100.0), np.full((6, 6), 5000.0)).uniform(2)
    both = type(two)(two.rate_map, {1: two.settings[2], 2: two.settings[2]}, 2, two.bytes, two.error)
    assert both.cost(QUALITY) - two.cost(QUALITY) == pytest.approx(multiplier(QUALITY) * 8 * PLANE_BYTES)


def test_halves_of_different_kinds_are_mixed() -> None:
    smooth, sharp = table(50, 1000), table(400, 1000)
    smooth.errors[:, 3:] = 5_000_000  # at the coarse rate, the right half is lost
    sharp.bytes[:, :3] = 400
    candidate = mixed({1: sharp, 2: smooth}, QUALITY, sharp.uniform(1))
    assert candidate is not None
    assert (candidate.rate_map[:, :3] == 2).all()
    assert (candidate.rate_map[:, 3:] == 1).all()
    assert set(candidate.settings) == {1, 2}
    assert candidate.cost(QUALITY) < sharp.uniform(1).cost(QUALITY)


def test_a_single_block_keeps_the_rate_of_its_neighbours() -> None:
    fine, coarse = table(400, 1000), table(300, 1000)
    coarse.errors[2, 2] = 90_000_000
    assert mixed({1: fine, 2: coarse}, QUALITY, coarse.uniform(2)) is None


def test_a_small_gain_is_not_worth_a_trial() -> None:
    fine, coarse = table(100, 1000), table(100, 1000)
    coarse.bytes[:3] = 99
    assert mixed({1: fine, 2: coarse}, QUALITY, fine.uniform(1)) is None
    assert mixed({1: fine}, QUALITY, fine.uniform(1)) is None


def test_the_best_chroma_format_of_each_rate() -> None:
    worse, better, other = table(100, 9000), table(90, 9000, quality=31), table(50, 100)
    assert best_tables([(1, worse), (2, other), (1, better)], QUALITY) == {1: better, 2: other}
