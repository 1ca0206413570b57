"""Seams: is there a jump where blocks of different rates meet? Figures for one picture and its rate map.

In: a picture and the rate map it was made with. Out: luma gradients across the borders between rates, and the same
inside the two blocks that meet there.

"Inside" are the pixel pairs 16 and 32 pixels away on both sides: there, as at the border, a pair lies between two
samples of every rate, so that interpolation treats all of them alike. The two blocks differ in detail, so gradients
are averaged as energies (root mean square): where a detailed and a smooth block meet without a seam, the detail of
one side alone makes the difference across, and its energy is just the mean of the energies within the two sides.
A jump adds to it. What is in the photo at the borders by chance shows as the same ratio of the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.colour import luma

OFFSETS = (-32, -16, 16, 32)


@dataclass(frozen=True)
class BorderGradients:
    """Sums over border pixels: of |Δ| and of Δ² across, and, averaged over both sides, inside."""

    pixels: int = 0
    across: float = 0.0
    inside: float = 0.0
    across_energy: float = 0.0
    inside_energy: float = 0.0

    def __add__(self, other: BorderGradients) -> BorderGradients:
        mine, theirs = vars(self), vars(other)
        return BorderGradients(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def ratio(self) -> float:
        """Root-mean-square gradient across over inside: 1 without a seam."""
        return float(np.sqrt(self.across_energy / self.inside_energy)) if self.inside_energy else 1.0

    @property
    def mean_ratio(self) -> float:
        """The same with mean absolute gradients; above 1 also without a seam where detail meets smoothness."""
        return self.across / self.inside if self.inside else 1.0


def border_gradients(picture: NDArray[np.uint8], rate_map: NDArray[np.uint8], block: int) -> BorderGradients:
    """Over all borders between blocks of different rates of `uint8 [H, W, 3]`."""
    y = luma(picture)
    return _vertical(y, rate_map, block) + _vertical(y.T, rate_map.T, block)


def _vertical(y: NDArray[np.float64], rate_map: NDArray[np.uint8], block: int) -> BorderGradients:
    total = BorderGradients()
    for row, col in zip(*np.nonzero(rate_map[:, 1:] != rate_map[:, :-1]), strict=True):
        x = (int(col) + 1) * block
        rows = y[int(row) * block : (int(row) + 1) * block]
        if x + max(OFFSETS) >= y.shape[1] or not len(rows):
            continue
        across = np.abs(rows[:, x] - rows[:, x - 1])
        inside = np.abs(np.stack([rows[:, x + o] - rows[:, x + o - 1] for o in OFFSETS]))
        total += BorderGradients(
            len(rows),
            float(across.sum()),
            float(inside.mean(axis=0).sum()),
            float((across**2).sum()),
            float((inside**2).mean(axis=0).sum()),
        )
    return total
