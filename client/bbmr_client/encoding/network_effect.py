"""The network's effect on lossy planes: its expected error in each block, without running it.

`bbmr_models.training.lossy_predictor` fits the coefficients in `predictors/NAME-lossy.json` to the weights NAME.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.prediction import lossy_features

from .predictor_files import read_coefficients
from .trial import Trial

_LEAST, _GREATEST = -3.0, 0.3
"""log₂ of the smallest and largest ratio of errors that is believed: the fit does not hold beyond its data."""
_WORTH = -0.003
"""log₂ of the ratio for the whole picture, above which the network is not used."""


@cache
def lossy_coefficients(model: str) -> dict[int, NDArray[np.float64]] | None:
    """Returns rate → `[55]`, or None if there are no coefficients for these weights."""
    rows = read_coefficients(f"{model}-lossy")
    if rows is None:
        return None
    return {int(rate): np.array(values, np.float64) for rate, values in rows.items()}


class NetworkEffect:
    """Predicts the errors after the network of one photo's planes.

    Args:
        model: name of the weights; None: there is no network.
        areas: pixels of every block, `[rows, cols]`.
        pyramid: squared errors of the blocks at the steps 1→2, 2→4 and 4→8, means over samples, `[3, rows, cols]`.
        gradients: `BlockStatistics.gradient_moments`.
    """

    def __init__(
        self,
        model: str | None,
        areas: NDArray[np.int64],
        pyramid: NDArray[np.float64],
        gradients: NDArray[np.float64],
    ) -> None:
        self._coefficients = None if model is None else lossy_coefficients(model)
        self._model, self._areas = model, areas
        self._pyramid = pyramid.reshape(len(pyramid), areas.size)
        self._gradients = gradients.reshape(len(gradients), areas.size)

    def expect(self, trial: Trial) -> tuple[NDArray[np.float64], int]:
        """Returns the squared error of each block after the network, summed, and the strength to use."""
        if self._coefficients is None:
            return trial.errors, 0 if self._model is None else FULL_STRENGTH
        rate = min(trial.rate, max(self._coefficients))
        means = (trial.errors / self._areas).ravel()
        full_chroma = trial.settings.subsampling == "4:4:4"
        inputs = lossy_features(means, trial.coding, self._pyramid, self._gradients, full_chroma)
        ratio = np.clip(self._coefficients[rate] @ inputs, _LEAST, _GREATEST)
        expected = trial.errors * np.exp2(ratio).reshape(trial.errors.shape)
        if np.log2((expected.sum() + 1e-9) / (trial.errors.sum() + 1e-9)) > _WORTH:
            return trial.errors, 0
        return expected, FULL_STRENGTH
