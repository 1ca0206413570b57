"""Distortion: the squared error of each block at each rate after bicubic downscaling and upscaling.

Another estimate of the distortion (a predictor, the network itself) can replace `bicubic_distortion` if its table has
the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.grid import BlockGrid
from bbmr_shared.resample import enlarged_rows


def bicubic_distortion(
    padded: NDArray[np.uint8],
    planes: Mapping[int, NDArray[np.uint8]],
    rates: Sequence[int],
    grid: BlockGrid,
) -> NDArray[np.float64]:
    """Returns the squared error of every block at every rate, summed over its pixels: `float64 [rates, rows, cols]`.

    The error is in YCbCr, weighted 6:1:1 (8-bit units). It is computed for one row of blocks at a time, because the
    errors of all pixels of a large photo would take ten times its bytes.
    """
    table = np.zeros((len(rates), *grid.shape))
    lefts = np.arange(grid.cols) * grid.block
    bottoms = np.cumsum(grid.heights)
    for index, rate in enumerate(rates):
        if rate == 1:
            continue
        for row, (bottom, height) in enumerate(zip(bottoms.tolist(), grid.heights.tolist(), strict=True)):
            top = bottom - height
            larger = enlarged_rows(planes[rate], rate, top, bottom)
            errors = weighted_squared_error(padded[top:bottom], larger)
            table[index, row] = np.add.reduceat(errors.sum(axis=0, dtype=np.float64), lefts)
    return table
