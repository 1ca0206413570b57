"""Statistics of blocks by histograms, against the same by plain arithmetic; the features that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bbmr_shared.block_statistics import GRADIENT_MOMENTS, BlockStatistics, mean_squared_error
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.container.planes import pad
from bbmr_shared.grid import BlockGrid
from bbmr_shared.prediction import LOSSY_FEATURES, lossy_features
from bbmr_shared.resample import bicubic, enlarged_rows
from tests.shared import parts

SIZES = [(700, 304), (128, 128), (33, 208)]


def padded(width: int, height: int, seed: int = 1) -> tuple[np.ndarray, BlockGrid]:
    """A picture of 8 rows down and up again, so that any stripes of 16 rows have the statistics of the whole."""
    grid = BlockGrid(width, height)
    rows = parts.picture(width, 8, seed)
    return pad(np.tile(np.concatenate([rows, rows[::-1]]), (height // 16, 1, 1)), grid), grid


def block_sums(errors: np.ndarray, grid: BlockGrid, at: int = 1) -> np.ndarray:
    rows = np.add.reduceat(errors, np.cumsum([0, *grid.heights[:-1] // at]), axis=0)
    return np.add.reduceat(rows, np.cumsum([0, *grid.widths[:-1] // at]), axis=1)


class TestErrors:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("rate", [1, 2, 4, 16])
    def test_they_are_those_of_the_enlarged_plane(self, size: tuple[int, int], rate: int) -> None:
        picture, grid = padded(*size)
        noise = np.random.default_rng(2).integers(-6, 7, (16, *picture.shape[1:]))
        noise = np.tile(noise, (len(picture) // 16, 1, 1))
        noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
        plane = bicubic(noisy, grid.padded_width // rate, grid.padded_height // rate)
        found = BlockStatistics(picture, grid).errors(plane, rate)
        enlarged = bicubic(plane, grid.padded_width, grid.padded_height)
        expected = block_sums(weighted_squared_error(picture, enlarged).astype(float), grid)
        assert found.shape == grid.shape
        means = grid.areas()
        # rounding to 8-bit YCbCr: at most half a step on either side, 1/6 in the mean of the square
        np.testing.assert_allclose(found / means, expected / means, rtol=0.03, atol=0.35)

    def test_of_the_same_picture_there_are_none(self) -> None:
        picture, grid = padded(300, 208)
        assert (BlockStatistics(picture, grid).errors(picture, 1) == 0).all()

    def test_between_two_steps_of_the_pyramid(self) -> None:
        picture, grid = padded(700, 304)
        half = bicubic(picture, grid.padded_width // 2, grid.padded_height // 2)
        quarter = bicubic(half, grid.padded_width // 4, grid.padded_height // 4)
        found = BlockStatistics(half, grid, 2).errors(quarter, 2)
        again = bicubic(quarter, half.shape[1], half.shape[0])
        expected = block_sums(weighted_squared_error(half, again).astype(float), grid, 2)
        means = grid.areas() / 4
        np.testing.assert_allclose(found / means, expected / means, rtol=0.03, atol=0.35)

    def test_luma_counts_six_times(self) -> None:
        grey = np.full((128, 128, 3), 100, np.uint8)
        statistics = BlockStatistics(grey, BlockGrid(128, 128))
        assert statistics.errors(grey + np.uint8(4), 1) == pytest.approx(128 * 128 * 16 * 6 / 8)


class TestGradients:
    @pytest.mark.parametrize("size", SIZES)
    def test_moments(self, size: tuple[int, int]) -> None:
        picture, grid = padded(*size)
        found = BlockStatistics(picture, grid).gradient_moments()
        assert found.shape == (len(GRADIENT_MOMENTS), *grid.shape)
        luma = np.asarray(Image.fromarray(picture).convert("YCbCr"))[..., 0].astype(int)
        block = luma[: grid.heights[0], : grid.widths[0]]
        last_column = np.zeros((len(block), 1), int)
        across = np.hstack([np.abs(np.diff(luma[: len(block), : block.shape[1] + 1], axis=1)), last_column])
        across = across[:, : block.shape[1]]
        down = np.vstack([np.abs(np.diff(block, axis=0)), np.zeros((1, block.shape[1]), int)])
        both = np.minimum(np.concatenate([across.ravel(), down.ravel()]), 80).astype(float)
        for moment, power in zip(found, GRADIENT_MOMENTS, strict=True):
            assert moment[0, 0] == pytest.approx((both**power).mean())

    def test_flat(self) -> None:
        flat = BlockStatistics(np.full((128, 256, 3), 77, np.uint8), BlockGrid(256, 128))
        assert (flat.gradient_moments() == 0).all()


@pytest.mark.parametrize("rate", [2, 4, 8, 16])
def test_enlarged_rows_are_rows_of_the_enlarged_plane(rate: int) -> None:
    plane = parts.picture(40, 48)
    whole = bicubic(plane, 40 * rate, 48 * rate)
    for top, bottom in ((0, 48), (0, 16), (16, 32), (32, 48)):
        rows = enlarged_rows(plane, rate, top * rate, bottom * rate)
        assert rows.shape == ((bottom - top) * rate, 40 * rate, 3)
        assert np.abs(rows.astype(int) - whole[top * rate : bottom * rate]).max() <= 1


def test_the_mean_squared_error() -> None:
    one, other = parts.picture(60, 40, 1), parts.picture(60, 40, 2)
    expected = ((one.astype(float) - other) ** 2).mean()
    assert mean_squared_error(one, other) == pytest.approx(expected)
    grey = one[..., 0]
    assert mean_squared_error(grey, other[..., 0]) == pytest.approx(
        ((grey.astype(float) - other[..., 0]) ** 2).mean()
    )
    assert mean_squared_error(np.repeat(grey[..., None], 3, axis=2), grey) == 0
    assert mean_squared_error(one[:, ::2], one[:, ::2]) == 0


class TestFeatures:
    def test_shape_and_the_constant(self) -> None:
        rng = np.random.default_rng(1)
        for blocks in (1, 7):
            found = lossy_features(
                rng.exponential(9, blocks),
                4.0,
                rng.exponential(9, (3, blocks)),
                rng.exponential(9, (3, blocks)),
                True,
            )
            assert found.shape == (LOSSY_FEATURES, blocks)
            assert (found[0] == 1).all()
            assert np.isfinite(found).all()

    def test_zeros_are_finite(self) -> None:
        zeros = np.zeros((3, 5))
        assert np.isfinite(lossy_features(zeros[0], 0.0, zeros, zeros, False)).all()

    def test_each_input_counts(self) -> None:
        def features(
            error: float = 5, coding: float = 4, step: float = 3, moment: float = 2, full: bool = False
        ):  # type: ignore[no-untyped-def]
            return lossy_features(
                np.full(1, error), coding, np.full((3, 1), step), np.full((3, 1), moment), full
            )

        for changed in ({"error": 6}, {"coding": 5}, {"step": 4}, {"moment": 3}, {"full": True}):
            assert not np.allclose(features(**changed), features())
