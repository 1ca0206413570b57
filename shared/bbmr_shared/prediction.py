"""Features of a block from which the network's error is predicted; fitting (models) and use (client) share them.

In: the bicubic mean squared error of a block at the rates 2, 4, 8 and 16. Out: a feature vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import RATES

COARSE = RATES[1:]
"""The rates at which something is lost."""

FLOOR = 0.01
"""Mean squared error below which blocks are alike: a tenth of what rounding to 8 bits makes."""


def features(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[4, blocks]` mean squared errors, rates 2 … 16 → `[15, blocks]`: 1, the logarithms, and their products."""
    logs = np.log2(errors + FLOOR)
    products = [logs[i] * logs[j] for i in range(len(COARSE)) for j in range(i, len(COARSE))]
    return np.stack([np.ones_like(logs[0]), *logs, *products])
