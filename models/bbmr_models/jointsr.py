"""JointSR: one network super-resolves the blocks of all rates jointly, on one canvas in one pass.

In: the composite, and the rate and coding error of every block. Out: the picture. `unet` and `backbone_network` hold
the two kinds of networks, `networks` chooses between them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbmr_shared.grid import RATES

from .composite import expand_cells
from .config import JointSRConfig

__all__ = ["Canvas", "JointSR", "JointSRConfig"]


class Canvas(NamedTuple):
    """The input of the network. Levels are float32 in 0 … 1; the maps have one value for each 16×16 cell.

    Attributes:
        base: `[N, 3, H, W]`, the composite, rounded to 8 bits. H and W are multiples of 16.
        rate: `[N, H/16, W/16]`, the rate of each cell's block.
        error: `[N, H/16, W/16]`, the coding error byte of its plane; 0 is lossless.
        strength: `[N, H/16, W/16]` in 0 … 1, the share of the correction to add; None adds all of it.
        half, quarter: `[N, 3, H/2, W/2]`, `[N, 3, H/4, W/4]`, the composite's coarser levels; `light` needs none.
    """

    base: Tensor
    rate: Tensor
    error: Tensor
    strength: Tensor | None = None
    half: Tensor | None = None
    quarter: Tensor | None = None


class JointSR(nn.Module):
    """`Canvas` → picture, `[N, 3, H, W]` in about 0 … 1 (not clipped). The base class of the networks.

    Samples at rate 1 without coding error are those of the photo; the network does not change them.

    Attributes:
        grid: the network's output lies on the grid of 1/grid of the picture's resolution.
    """

    grid: int

    def __init__(self, config: JointSRConfig) -> None:
        super().__init__()
        self.config = config
        self.palette: Tensor
        self.register_buffer("palette", torch.tensor(RATES).view(1, -1, 1, 1), persistent=False)

    def forward(self, canvas: Canvas) -> Tensor:
        return canvas.base + self.correction(canvas)

    def correction(self, canvas: Canvas) -> Tensor:
        """Return what the network adds to the base, `[N, 3, H, W]`."""
        rate, error = (expand_cells(values, self.grid) for values in (canvas.rate, canvas.error))
        out = self.folded_correction(canvas, rate, error) * ((rate > 1) | (error > 0))
        if canvas.strength is not None:
            out = out * expand_cells(canvas.strength, self.grid)
        return F.pixel_shuffle(out, self.grid)

    def folded_correction(self, canvas: Canvas, rate: Tensor, error: Tensor) -> Tensor:
        """Return the correction at full strength, also of exact samples, `[N, 3 · grid², H / grid, W / grid]`.

        Args:
            canvas: the input.
            rate, error: its maps, `[N, 1, H / grid, W / grid]`.
        """
        raise NotImplementedError

    def one_hot(self, rate: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the rate as five channels of which one is 1."""
        return torch.eq(rate, self.palette).to(dtype)
