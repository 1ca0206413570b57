"""How crops are drawn: what the sampler and the coding workers share."""

from __future__ import annotations

from dataclasses import dataclass

from bbmr_shared.grid import BLOCK, RATES

LAMBDA = (20.0, 5000.0)
"""Range of the Lagrange multiplier (squared error a pixel per sample a pixel), drawn log-uniformly."""


@dataclass(frozen=True)
class Sampling:
    """How crops are drawn.

    Attributes:
        crop: side in pixels, a multiple of 16; `batch` crops a draw.
        palette, block: the rates that blocks may have, and their side in pixels.
        uniform_rate: train for that one rate over the whole picture alone (the paper's baseline).
        coded_share: share of the crops that come from coded pictures.
    """

    crop: int
    batch: int
    palette: tuple[int, ...] = RATES
    block: int = BLOCK
    uniform_rate: int | None = None
    coded_share: float = 0.0

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates that occur."""
        return self.palette if self.uniform_rate is None else (self.uniform_rate,)
