"""The features of a block from which the network's error is predicted; models fits the predictor, client uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import RATES

COARSE = RATES[1:]
"""The rates that lose something."""

FLOOR = 0.01
"""Added to mean squared errors, so that tiny ones are alike: a tenth of the error of rounding to 8 bits."""


def features(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns `[15, blocks]` features of `[4, blocks]` bicubic mean squared errors at the rates 2, 4, 8 and 16.

    They are 1, the four logarithms, and the products of two of them.
    """
    logs = np.log2(errors + FLOOR)
    products = [logs[i] * logs[j] for i in range(len(COARSE)) for j in range(i, len(COARSE))]
    return np.stack([np.ones_like(logs[0]), *logs, *products])
