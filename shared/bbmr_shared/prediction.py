"""The features of a block from which the network's error is predicted; models fits the predictor, client uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import RATES

COARSE = RATES[1:]
"""The rates that lose something."""

FLOOR = 0.01
"""Added to mean squared errors, so that tiny ones are alike: a tenth of the error of rounding to 8 bits."""


LOSSY_FLOOR = 0.05
"""The same for lossy planes."""


def features(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns `[15, blocks]` features of `[4, blocks]` bicubic mean squared errors at the rates 2, 4, 8 and 16.

    They are 1, the four logarithms, and the products of two of them.
    """
    logs = np.log2(errors + FLOOR)
    products = [logs[i] * logs[j] for i in range(len(COARSE)) for j in range(i, len(COARSE))]
    return np.stack([np.ones_like(logs[0]), *logs, *products])


LOSSY_FEATURES = 55


def lossy_features(
    errors: NDArray[np.float64],
    coding: float,
    pyramid: NDArray[np.float64],
    gradients: NDArray[np.float64],
    full_chroma: bool,
) -> NDArray[np.float64]:
    """Returns `[55, blocks]` features from which the network's effect on blocks of one lossy plane is predicted.

    Args:
        errors: mean squared error of each block of the composite, `[blocks]`.
        coding: mean squared error of the plane's samples by coding alone.
        pyramid: mean squared errors of each block at the steps 1→2, 2→4 and 4→8 of the bicubic pyramid, `[3, blocks]`.
        gradients: moments of the gradient, `[3, blocks]` (`block_statistics.GRADIENT_MOMENTS`).
        full_chroma: whether the plane is coded as 4:4:4.
    """
    ones = np.ones_like(errors)
    logs = [np.log2(errors + LOSSY_FLOOR), ones * np.log2(coding + LOSSY_FLOOR)]
    logs += [np.log2(step + LOSSY_FLOOR) for step in pyramid]
    logs += [np.log2(moment + 0.1) for moment in gradients]
    logs.append(ones * full_chroma)
    products = [logs[i] * logs[j] for i in range(len(logs)) for j in range(i, len(logs))]
    return np.stack([ones, *logs, *products])
