"""Downscaling: planes of the whole picture, antialiased, cut into blocks afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from bbmr_client.encoding import downscale
from bbmr_client.encoding.distortion import bicubic_distortion
from bbmr_client.encoding.downscale import bicubic_planes
from bbmr_shared.container.planes import GREY, keep_blocks, pad
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.resample import bicubic, round_trip_error

RNG = np.random.default_rng(4)


def test_padding_repeats_the_edge() -> None:
    photo = RNG.integers(0, 256, (5, 18, 3), dtype=np.uint8)
    padded = pad(photo, BlockGrid(18, 5))
    assert padded.shape == (16, 32, 3)
    np.testing.assert_array_equal(padded[:5, :18], photo)
    np.testing.assert_array_equal(padded[5:, :18], np.broadcast_to(photo[4], (11, 18, 3)))
    np.testing.assert_array_equal(padded[:5, 18:], np.broadcast_to(photo[:, 17:], (5, 14, 3)))


def test_planes_are_antialiased() -> None:
    """A checkerboard of single pixels becomes grey at every rate; without antialiasing it would stay black or white."""
    checks = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    for rate, plane in bicubic_planes(checks, RATES).items():
        assert plane.shape == (128 // rate, 128 // rate, 3)
        if rate > 1:
            assert np.abs(plane[1:-1, 1:-1].astype(int) - 128).max() <= 3


def test_no_block_edge_is_in_the_samples() -> None:
    """A kept block has the samples of the plane of the whole picture; everything else is grey."""
    photo = RNG.integers(0, 256, (256, 384, 3), dtype=np.uint8)
    grid = BlockGrid(384, 256)
    rates = np.array([[4, 2, 4], [2, 4, 1]], np.uint8)
    plane = bicubic_planes(photo, [4])[4]
    kept = keep_blocks(plane, 4, rates, grid)
    own = grid.expand(rates == 4, 4)
    np.testing.assert_array_equal(kept[own], plane[own])
    assert (kept[~own] == GREY).all()


def test_distortion_is_that_of_the_round_trip_per_block() -> None:
    photo = np.full((128, 512, 3), 77, np.uint8)
    photo[:, 384:] = RNG.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    grid = BlockGrid(512, 128)
    table = bicubic_distortion(photo, bicubic_planes(photo, RATES), RATES, grid)[:, 0]
    assert (table[0] == 0).all()
    assert (np.diff(table[:, 3]) > 0).all(), "noise loses more at every coarser rate"
    assert (table[:, 0] == 0).all(), "a flat block far from the noise loses nothing"
    assert (table[1:, 2] > 0).all(), "the kernel reaches over the border from the noisy block"
    assert (table[1:, 2] < table[1:, 3] / 10).all()


def test_strips_give_what_the_whole_picture_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large photo goes through Pillow in strips; no sample and no sum may depend on where they are cut."""
    photo = RNG.integers(0, 256, (336, 208, 3), dtype=np.uint8)
    grid = BlockGrid(208, 336, 64)
    monkeypatch.setattr(downscale, "_STRIP", 208 * 16 * 3)
    planes = bicubic_planes(photo, RATES)
    table = bicubic_distortion(photo, planes, RATES, grid)
    for index, rate in enumerate(RATES[1:], 1):
        np.testing.assert_array_equal(planes[rate], bicubic(photo, 208 // rate, 336 // rate))
        np.testing.assert_allclose(
            table[index], grid.block_sums(round_trip_error(photo, planes[rate])), rtol=1e-12
        )
