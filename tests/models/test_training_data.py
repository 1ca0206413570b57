"""Training data: the contents of the pool, the crops from it, and the rates chosen for them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bbmr_models.composite import expand_cells
from bbmr_models.training.lossless.bicubic_planes import make_planes
from bbmr_models.training.lossless.crop_settings import CropSettings
from bbmr_models.training.lossless.crops import Crops, gather, gather_cells
from bbmr_models.training.lossless.pool import PicturePool, hold_out, load_pool
from bbmr_models.training.lossless.rate_maps import block_of_cell, expand_blocks, lagrangian, most_blocks
from bbmr_models.training.lossless.sampler import Sampler
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.resample import bicubic, round_trip_error

CROP_SETTINGS = CropSettings(crop=64, batch=8)


def test_bad_pictures_are_named_and_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(load_pool(folder, 64, 1, 0)) == 3
    for name in ("text.jpg", "half.png", "tiny.png"):
        assert name in caplog.text


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no usable photograph"):
        load_pool(tmp_path, 64, 1, 0)


def test_all_sizes_of_a_held_out_picture_are_held_out(folder: Path) -> None:
    pool = load_pool(folder, 64, 5, 0)
    training, held = hold_out(pool, 12)
    assert set(held.sources) == {"2.png"}
    assert set(training.sources) == {"0.png", "1.png"}
    assert len(training) + len(held) == len(pool) == 15
    with pytest.raises(UsageError, match="two usable photographs"):
        hold_out(held, 12)


def test_planes_and_errors_are_those_of_the_client(photo: NDArray[np.uint8]) -> None:
    picture = np.ascontiguousarray(photo[:480, :688])
    planes, errors = make_planes(torch.from_numpy(picture))
    grid = BlockGrid(688, 480, 16)
    for index, rate in enumerate(RATES):
        expected = bicubic(picture, 688 // rate, 480 // rate) if rate > 1 else picture
        difference = np.abs(planes[rate].numpy().astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001
        if rate > 1:
            sums = grid.block_sums(round_trip_error(picture, expected))
            np.testing.assert_allclose(errors[:, :, index].numpy(), sums, rtol=0.02, atol=20)
    assert not errors[:, :, 0].any()


def test_a_picture_lies_in_the_pool_as_it_was_made(pool: PicturePool) -> None:
    for index in range(len(pool)):
        planes, errors = make_planes(pool.plane(index, 1))
        assert torch.equal(pool.cell_errors(index), errors)
        for rate, plane in planes.items():
            assert torch.equal(pool.plane(index, rate), plane)


@pytest.mark.parametrize("rate", RATES)
def test_crops_are_gathered_turned_and_flipped(pool: PicturePool, rate: int) -> None:
    """All eight orientations, of three pictures, at every rate: cut, then flip, then transpose."""
    turns = torch.arange(8)
    crops = Crops(turns % 3, turns % 2, turns % 4, turns)
    batch = gather(pool, pool.planes[rate], crops, 4, rate)
    errors = gather_cells(pool, pool.errors, crops, 4)
    scale = 16 // rate
    for n, turn in enumerate(turns.tolist()):
        top, left = n % 2, n % 4

        def oriented(cut: Tensor, turn: int = turn) -> Tensor:
            if turn & 1:
                cut = cut.flip(0)
            if turn & 2:
                cut = cut.flip(1)
            return cut.transpose(0, 1) if turn & 4 else cut

        plane = pool.plane(n % 3, rate)
        cut = plane[top * scale : (top + 4) * scale, left * scale : (left + 4) * scale]
        # (y, x) of the crop reads the flipped picture at (x, y) where it is transposed
        expected = oriented(cut).permute(2, 0, 1).float()
        assert torch.equal(batch[n], expected)
        cells = pool.cell_errors(n % 3)[top : top + 4, left : left + 4]
        assert torch.equal(errors[n], oriented(cells))


@pytest.mark.parametrize("block", [64, 128, 256])
def test_rates_are_the_lagrangian_choice_of_each_block(block: int) -> None:
    rng = np.random.default_rng(4)
    count, side, cells, palette = 5, 12, block // 16, (2, 4, 8)
    errors = rng.gamma(1.0, 3e4, (count, side, side, 5)).astype(np.float32).cumsum(3)
    multiplier = rng.uniform(20, 5000, count)
    phases = rng.integers(0, cells, (2, count))
    rows, columns = (block_of_cell(torch.from_numpy(phase), side, cells) for phase in phases)
    blocks = most_blocks(side, cells)
    assert int(rows.max()) < blocks
    choice = lagrangian(
        torch.from_numpy(errors), torch.from_numpy(multiplier), rows, columns, blocks, palette
    )
    chosen = expand_blocks(choice, rows, columns).numpy()
    for n in range(count):
        for y in range(side):
            for x in range(side):
                own = (rows[n] == rows[n, y]).numpy()[:, None] & (columns[n] == columns[n, x]).numpy()
                mean = errors[n][own][:, 1:4].astype(np.float64).mean(0) / 256
                assert chosen[n, y, x] == (mean + multiplier[n] / np.square(palette)).argmin()


def test_batches_hold_the_composite_of_their_own_target(pool: PicturePool) -> None:
    canvas, target = Sampler(pool, CROP_SETTINGS, 0).draw()
    finest = expand_cells(canvas.rate, 1).expand_as(target) == 1
    assert torch.equal(canvas.base[finest], target[finest])
    error = (canvas.base - target)[~finest].square().mean().item()
    assert 0 < error < 0.02
    assert not canvas.error.any()


@pytest.mark.parametrize("block", [64, 128, 256])
def test_rate_maps_follow_palette_and_blocks(pool: PicturePool, block: int) -> None:
    """Rates change only at block borders: within 4 cells of a crop at most at one column and one row."""
    sampler = Sampler(pool, replace(CROP_SETTINGS, palette=(2, 4, 8), block=block, batch=32), 0)
    seen = set()
    for _ in range(4):
        cells = sampler.draw()[0].rate
        seen |= set(cells.unique().tolist())
        for axis in (1, 2):
            changes = cells.diff(dim=axis).ne(0).any(dim=3 - axis).sum(dim=1)
            assert changes.max() <= 1
    assert seen == {2, 4, 8}


def test_the_baseline_sees_one_rate_only(pool: PicturePool) -> None:
    canvas, _ = Sampler(pool, replace(CROP_SETTINGS, uniform_rate=4), 0).draw()
    assert (canvas.rate == 4).all()


def test_one_generator_holds_the_data_order(pool: PicturePool) -> None:
    sampler = Sampler(pool, CROP_SETTINGS, 5)
    sampler.draw()
    state = sampler.generator.get_state()
    expected = sampler.draw()[1]
    again = Sampler(pool, CROP_SETTINGS, 99)
    again.generator.set_state(state)
    assert torch.equal(again.draw()[1], expected)
