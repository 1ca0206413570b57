"""Prediction: what the network will leave of each block's bicubic error, without running the network.

In: bicubic squared errors per rate and block. Out: the errors to expect after reconstruction, and the network
strength where no gain is to be expected. The coefficients (`predictors/NAME.json`) were distilled from the weights
NAME by `bbmr_models.training.predictor`; weights without a file of that name are planned for as if they were bicubic.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.prediction import COARSE, features

Table = NDArray[np.float64]

_MOST = -2.5
"""log₂ of the largest reduction that is believed; a fit is not to be trusted beyond what it has seen."""

_DOUBTFUL, _HOPELESS = -0.12, -0.05
"""log₂ from which half, and none, of the network's correction is asked for. Of training blocks at rate 16 with such
predictions and a squared error below 5, the full correction made a third to a half worse."""


@cache
def coefficients(model: str) -> Table | None:
    """`[4, features]` for the rates 2 … 16, or None where nothing is known of these weights."""
    for path in (files("bbmr_client") / "predictors").iterdir():
        if path.name == f"{model}.json":
            return np.array(json.loads(path.read_text())["coefficients"], np.float64)
    return None


def predict(bicubic: Table, areas: NDArray[np.int64], fit: Table) -> tuple[Table, NDArray[np.uint8]]:
    """Expected squared errors after the network, and the strength to ask for.

    Args:
        bicubic: squared error sums `[5, rows, cols]` for the rates 1 … 16.
        areas: pixels of every block, `[rows, cols]`.
        fit: from `coefficients`.

    Returns:
        The errors, in the same form, and strengths in halves `uint8 [5, rows, cols]`: less than 2 where the
        network is expected to do next to nothing (blocks that are almost exact already, or very coarse).
    """
    shape = areas.shape
    errors = (bicubic[1:] / areas).reshape(len(COARSE), -1)
    ratio = (fit @ features(errors)).reshape(len(COARSE), *shape)
    expected = bicubic.copy()
    expected[1:] *= np.exp2(np.clip(ratio, _MOST, 0))
    strength = np.full(bicubic.shape, FULL_STRENGTH, np.uint8)
    for halves, threshold in ((1, _DOUBTFUL), (0, _HOPELESS)):
        strength[1:][ratio >= threshold] = halves
    return expected, strength
