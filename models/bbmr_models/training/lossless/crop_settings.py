"""Settings for drawing crops."""

from __future__ import annotations

from dataclasses import dataclass

from bbmr_shared.grid import BLOCK, RATES

LAMBDA = (20.0, 5000.0)
"""Range of the Lagrange multiplier, which is drawn log-uniformly. Its unit is (squared error per pixel) / (samples per
pixel)."""


@dataclass(frozen=True)
class CropSettings:
    """How crops are drawn.

    Attributes:
        crop: side in pixels, a multiple of 16.
        batch: crops per draw.
        palette: the rates that blocks may have.
        block: side of a block in pixels.
        uniform_rate: draws this one rate over the whole picture (the paper's baseline).
    """

    crop: int
    batch: int
    palette: tuple[int, ...] = RATES
    block: int = BLOCK
    uniform_rate: int | None = None

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates that the blocks of a crop may have: the palette, or only `uniform_rate`."""
        return self.palette if self.uniform_rate is None else (self.uniform_rate,)
