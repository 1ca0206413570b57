"""Prediction: estimates each block's error after the network from its bicubic errors, without running the network.

`bbmr_models.training.predictor` fits the coefficients in `predictors/NAME.json` to the weights NAME. Weights without
such a file are treated as if they were bicubic upscaling.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.prediction import COARSE, features

from .predictor_files import read_coefficients

Table = NDArray[np.float64]

_LARGEST_REDUCTION = -2.5
"""log₂ of the largest reduction of the error that is assumed, since the fit does not hold beyond its training data."""

_HALF_STRENGTH_FROM, _NO_STRENGTH_FROM = -0.12, -0.05
"""Half of the network's correction is used where log₂ of the predicted error ratio is at least the first number, and
none where it is at least the second. With such a ratio and a squared error below 5, the network made a third to a half
of the training blocks at rate 16 worse."""


@cache
def coefficients_of(model: str) -> Table | None:
    """Returns `[4, features]` for the rates 2 … 16, or None if there are no coefficients for these weights."""
    rows = read_coefficients(model)
    return None if rows is None else np.array(rows, np.float64)


def predict(bicubic: Table, areas: NDArray[np.int64], coefficients: Table) -> tuple[Table, NDArray[np.uint8]]:
    """Returns the expected squared errors after the network, and the strength to use.

    Args:
        bicubic: squared error sums `[5, rows, cols]` for the rates 1 … 16.
        areas: pixels of every block, `[rows, cols]`.
        coefficients: from `coefficients_of`.

    Returns:
        The errors, in the same form, and strengths in halves `uint8 [5, rows, cols]`: less than 2 where the
        network is expected to improve almost nothing (blocks that are almost exact already, or very coarse).
    """
    shape = areas.shape
    errors = (bicubic[1:] / areas).reshape(len(COARSE), -1)
    ratio = (coefficients @ features(errors)).reshape(len(COARSE), *shape)
    expected = bicubic.copy()
    expected[1:] *= np.exp2(np.clip(ratio, _LARGEST_REDUCTION, 0))
    strength = np.full(bicubic.shape, FULL_STRENGTH, np.uint8)
    for halves, threshold in ((1, _HALF_STRENGTH_FROM), (0, _NO_STRENGTH_FROM)):
        strength[1:][ratio >= threshold] = halves
    return expected, strength
