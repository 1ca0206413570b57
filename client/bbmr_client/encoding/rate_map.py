"""The rate map: decides which rate each block of a photo gets, and how strongly the network corrects it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import RATES, BlockGrid

from .allocate import allocate
from .distortion import bicubic_distortion
from .predict import predict


def choose_rates(
    padded: NDArray[np.uint8],
    planes: dict[int, NDArray[np.uint8]],
    palette: Sequence[int],
    rate: float,
    grid: BlockGrid,
    coefficients: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Returns the rate map of least distortion with at most 1/rate² of the samples, and the strength map.

    Args:
        padded: `uint8 [H, W, 3]`.
        planes: of every rate in `RATES`, from `bicubic_planes`.
        palette: the rates that blocks may have, ascending.
        rate: the overall rate.
        grid: of the picture.
        coefficients: from `predict.coefficients_of`; without them the distortion is that of bicubic upscaling.

    Returns:
        `uint8 [rows, cols]` twice; the strength map is None without `coefficients`.

    Raises:
        UsageError: even the coarsest rate of the palette keeps too many samples.
    """
    areas = grid.areas()
    allowed = [RATES.index(r) for r in palette]
    cost = np.stack([areas / r**2 for r in palette])
    baseline = palette.index(int(rate)) if rate in palette else None
    distortion, strength = bicubic_distortion(padded, planes, RATES, grid), None
    if coefficients is not None:
        distortion, strength = predict(distortion, areas, coefficients)
    choice = allocate(cost, distortion[allowed], areas.sum() / rate**2, baseline)
    rate_map = np.asarray(palette, np.uint8)[choice]
    if strength is not None:
        strength = np.take_along_axis(strength[allowed], choice[None], 0)[0]
    return rate_map, strength
