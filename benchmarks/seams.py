"""Seams: measures whether there is a jump where blocks of different rates meet, in one picture with its rate map.

The figure compares luma gradients across the borders between rates with those inside the two blocks that meet there.
"Inside" are the pixel pairs 16 and 32 pixels away on both sides: like the pair at the border, they lie between two
samples of every rate, so interpolation treats all of them alike. Gradients are averaged as energies (root mean square):
if a detailed and a smooth block meet without a seam, the energy across the border is the mean of the energies inside
both. A jump adds to it. A photo may have jumps at the borders by chance; the same ratio of the original shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.colour import luma

OFFSETS = (-32, -16, 16, 32)


@dataclass(frozen=True)
class BorderGradients:
    """Sums over border pixels of |Δ| and Δ²: across the border, and inside, averaged over both sides."""

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
        """Root-mean-square gradient across, divided by that inside: 1 without a seam."""
        return float(np.sqrt(self.across_energy / self.inside_energy)) if self.inside_energy else 1.0

    @property
    def mean_ratio(self) -> float:
        """The same with mean absolute gradients. Without a seam it is above 1 where detail meets smoothness."""
        return self.across / self.inside if self.inside else 1.0


def border_gradients(picture: NDArray[np.uint8], rate_map: NDArray[np.uint8], block: int) -> BorderGradients:
    """Return the sums over all borders between blocks of different rates, of a picture `uint8 [H, W, 3]`."""
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
