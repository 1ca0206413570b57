"""The block grid: padding, border blocks, and sums that come out whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbmr_shared.grid import RATES, BlockGrid
from tests.shared import parts

SIDES = st.integers(1, 700)
BLOCKS = st.sampled_from([16, 48, 128, 1024])


@given(SIDES, SIDES, BLOCKS)
def test_blocks_cover_the_padded_picture_once(width: int, height: int, block: int) -> None:
    grid = BlockGrid(width, height, block)
    assert 0 <= grid.padded_width - width < 16
    assert 0 <= grid.padded_height - height < 16
    assert grid.areas().shape == grid.shape == (grid.rows, grid.cols)
    assert grid.areas().sum() == grid.padded_width * grid.padded_height
    assert all(side % 16 == 0 and 0 < side <= block for side in (*grid.widths, *grid.heights))


@given(SIDES, SIDES, BLOCKS, st.integers(0, 99))
def test_every_rate_has_whole_planes_and_samples(width: int, height: int, block: int, seed: int) -> None:
    grid = BlockGrid(width, height, block)
    rates = parts.rate_map(grid, seed=seed)
    counted = 0
    for rate in RATES:
        plane_width, plane_height = grid.plane_size(rate)
        assert (plane_width * rate, plane_height * rate) == (grid.padded_width, grid.padded_height)
        own = grid.expand(rates == rate, rate)
        assert own.shape == (plane_height, plane_width)
        counted += int(own.sum())
    assert grid.samples(rates) == counted


def test_a_sample_belongs_to_the_block_that_covers_its_pixels() -> None:
    grid = BlockGrid(100, 70, 32)
    index = np.arange(grid.rows * grid.cols).reshape(grid.shape)
    for rate in RATES:
        expanded = grid.expand(index, rate)
        for y, x in np.ndindex(expanded.shape):
            assert expanded[y, x] == index[y * rate // 32, x * rate // 32]


def test_block_sums() -> None:
    grid = BlockGrid(70, 40, 32)
    values = np.random.default_rng(1).random((48, 80)).astype(np.float32)
    expected = [[values[y : y + 32, x : x + 32].sum() for x in (0, 32, 64)] for y in (0, 32)]
    assert np.allclose(grid.block_sums(values), expected)


@pytest.mark.parametrize(
    "arguments", [(0, 1), (1, 0), (-5, 5), (8, 8, 0), (8, 8, 15), (8, 8, 24), (8, 8, 1040), (8, 8, -16)]
)
def test_no_grid_without_pixels_or_with_an_odd_block(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least 1×1|multiple of 16"):
        BlockGrid(*arguments)
