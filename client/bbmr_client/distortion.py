"""Distortion: what each block would lose at each rate, by the bicubic round trip.

In: the padded picture and its planes. Out: a table `[rates, rows, cols]` of squared error sums. Another source
of distortion (a predictor, the real network) takes the place of `bicubic_distortion` with the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import BlockGrid
from bbmr_shared.resample import round_trip_error


def bicubic_distortion(
    padded: NDArray[np.uint8],
    planes: Mapping[int, NDArray[np.uint8]],
    rates: Sequence[int],
    grid: BlockGrid,
) -> NDArray[np.float64]:
    """Squared error of every block at every rate, summed over its pixels, `float64 [len(rates), rows, cols]`.

    The error is that of bicubic down and up again, in YCbCr weighted 6:1:1 (8-bit units).
    """
    table = np.zeros((len(rates), *grid.shape))
    for index, rate in enumerate(rates):
        if rate > 1:
            table[index] = grid.block_sums(round_trip_error(padded, planes[rate]))
    return table
