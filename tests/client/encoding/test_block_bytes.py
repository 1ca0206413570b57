"""The estimate of each block's bytes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bbmr_client.encoding.block_bytes import block_bytes
from bbmr_shared.container.planes import keep_blocks
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.resample import bicubic


def half_noisy(width: int, height: int) -> NDArray[np.uint8]:
    """A picture whose left half is smooth and whose right half is noise."""
    rng = np.random.default_rng(3)
    picture = np.tile(np.linspace(60, 180, width).astype(np.uint8)[None, :, None], (height, 1, 3))
    noise = rng.normal(0, 40, (height // 8 + 1, (width - width // 2) // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    noise = noise[:height, : width - width // 2]
    picture[:, width // 2 :] = np.clip(picture[:, width // 2 :] + noise, 0, 255)
    return picture


@pytest.mark.parametrize("rate", [1, 2, 4, 8])
def test_detail_gets_the_bytes(rate: int) -> None:
    picture = half_noisy(512, 256)
    grid = BlockGrid(512, 256)
    plane = bicubic(picture, 512 // rate, 256 // rate) if rate > 1 else picture
    found = block_bytes(plane, rate, grid, 50, 10_000)
    assert found.shape == grid.shape
    assert found.sum() == pytest.approx(10_000)
    assert (found > 0).all()
    assert found[:, 2:].sum() > 3 * found[:, :2].sum()


def test_a_part_of_a_plane_has_about_the_bytes_of_its_blocks() -> None:
    picture = half_noisy(512, 384)
    grid = BlockGrid(512, 384)
    for quality in (20, 50):
        whole = len(encode_plane(picture, "av1", quality=quality, speed=8, tune="psnr")[1])
        rate_map = np.full(grid.shape, 2, np.uint8)
        rate_map[:2, 1:] = 1
        part = keep_blocks(picture, 1, rate_map, grid)
        real = len(encode_plane(part, "av1", quality=quality, speed=8, tune="psnr")[1])
        estimate = block_bytes(picture, 1, grid, quality, whole)[rate_map == 1].sum()
        assert 0.7 * real < estimate < 1.3 * real


@pytest.mark.parametrize("width", [65_408, 65_424])
def test_a_plane_wider_than_a_jpeg(width: int) -> None:
    found = block_bytes(np.zeros((16, width), np.uint8), 1, BlockGrid(width, 16), 40, 500)
    assert found.sum() == pytest.approx(500)
    assert (found > 0).all()


@pytest.mark.parametrize(("width", "height", "block"), [(400, 272, 128), (16, 16, 128), (64, 48, 16)])
@pytest.mark.parametrize("grey", [False, True])
def test_any_grid(width: int, height: int, block: int, grey: bool) -> None:
    picture = half_noisy(width, height)
    grid = BlockGrid(width, height, block)
    for rate in (1, 2, 4, 8, 16):
        plane = picture if rate == 1 else bicubic(picture, width // rate, height // rate)
        found = block_bytes(plane[..., 0] if grey else plane, rate, grid, 40, 500)
        assert found.shape == grid.shape
        assert found.sum() == pytest.approx(500)
