"""Compositing in torch equals compositing in numpy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bbmr_models.composite import pyramid, to_base
from bbmr_shared.compositing.composite import coarse_levels, composite
from bbmr_shared.grid import RATES, BlockGrid


@pytest.mark.parametrize("size", [(192, 192), (250, 300), (17, 5), (640, 384)])
@pytest.mark.parametrize("block", [16, 128])
@pytest.mark.parametrize("palette", [RATES, (4, 8), (16,), (1,)])
def test_noise_composites_equally_in_torch_and_numpy(
    size: tuple[int, int], block: int, palette: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(3)
    grid = BlockGrid(*size, block)
    rate_map = rng.choice(np.array(palette, np.uint8), size=grid.shape)
    planes = {
        int(rate): rng.choice(
            np.array([0, 1, 127, 254, 255], np.uint8), (*grid.plane_size(int(rate))[::-1], 3)
        )
        for rate in np.unique(rate_map)
    }
    tensors = {rate: torch.from_numpy(plane).permute(2, 0, 1)[None].float() for rate, plane in planes.items()}
    cells = torch.from_numpy(grid.expand(rate_map, 16).astype(np.int64))[None]

    twin = pyramid(tensors, cells)

    for level, expected in coarse_levels(planes, rate_map, grid).items():
        np.testing.assert_array_equal(twin[level][0].permute(1, 2, 0).numpy(), expected)
    base = to_base(twin[1])[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(base, composite(planes, rate_map, grid))
