"""The U-shaped network `light`: it reads the composite alone, on grids of HR/2, HR/4 and HR/8.

The fine level repairs coding errors and the borders between rates; the coarse levels see a wide context at little cost.
Levels are joined by strided 2×2 convolutions down, by 1×1 convolutions and pixel shuffle up, and by addition.

Blocks at rate 1 with coding errors may have weights of their own (`restoration`). To remove coding errors is another
task than to super-resolve: with one set of weights for both, the gain at rate 1 was a third.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbmr_shared.grid import RATES

from .config import LIGHT_GRID as GRID
from .config import LOG_ERRORS, RESTORATION
from .jointsr import Canvas, JointSR, JointSRConfig

FOLDED = 3 * GRID**2
"""Channels of an RGB picture folded onto the HR/2 grid."""
INPUTS = FOLDED + len(RATES) + 1


class JointUNet(JointSR):
    """`config.channels` are the widths at HR/2, HR/4 and HR/8, `config.blocks` the residual blocks at HR/8.

    Attributes:
        restoration: the network for blocks at rate 1 with coding errors; None: this one.
    """

    grid = GRID

    def __init__(self, config: JointSRConfig) -> None:
        super().__init__(config)
        fine, middle, coarse = config.widths
        self.stem = nn.Conv2d(INPUTS, fine, 3, padding=1)
        self.fine_in, self.fine_out = ResidualBlock(fine), ResidualBlock(fine)
        self.down1 = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_in, self.middle_out = ResidualBlock(middle), ResidualBlock(middle)
        self.down2 = nn.Conv2d(middle, coarse, 2, stride=2)
        self.body = nn.Sequential(*(ResidualBlock(coarse) for _ in range(config.blocks)))
        self.up2 = nn.Conv2d(coarse, 4 * middle, 1)
        self.up1 = nn.Conv2d(middle, 4 * fine, 1)
        self.head = nn.Conv2d(fine, FOLDED, 3, padding=1)
        with torch.no_grad():  # an untrained network returns almost the composite
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()  # type: ignore[union-attr]
        self.restoration: JointUNet | None = None
        if config.restoration:
            self.restoration = JointUNet(replace(config, restoration=False))
        self.log_errors: Tensor
        self.register_buffer("log_errors", torch.tensor(LOG_ERRORS), persistent=False)

    def folded_correction(self, canvas: Canvas, rate: Tensor, error: Tensor) -> Tensor:
        own = self._own_correction(canvas, rate, error)
        if self.restoration is None:
            return own
        restored = (rate == 1) & (error > 0)
        return torch.where(restored, self.restoration.folded_correction(canvas, rate, error), own)

    def _own_correction(self, canvas: Canvas, rate: Tensor, error: Tensor) -> Tensor:
        folded = F.pixel_unshuffle(canvas.base - 0.5, GRID)
        log_error = self.log_errors[error.long()].to(folded.dtype)
        inputs = torch.cat((folded, self.one_hot(rate, folded.dtype), log_error), 1)
        return self.head(self.features(self.stem(inputs)))

    def part(self, restoration: bool) -> JointUNet:
        """Return a network of its own with one of the two sets of weights."""
        prefix = RESTORATION if restoration else ""
        network = JointUNet(replace(self.config, restoration=False))
        state = self.state_dict()
        network.load_state_dict({name: state[prefix + name] for name in network.state_dict()})
        return network

    def features(self, stem: Tensor) -> Tensor:
        """Run everything between stem and head, `[N, fine, H/2, W/2]` → the same shape."""
        fine = self.fine_in(stem)
        middle = self.middle_in(self.down1(fine))
        coarse = self.down2(middle)
        coarse = coarse + self.body(coarse)
        middle = self.middle_out(middle + F.pixel_shuffle(self.up2(coarse), 2))
        out: Tensor = self.fine_out(fine + F.pixel_shuffle(self.up1(middle), 2))
        return out


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between them, added to their input. `[N, channels, h, w]` → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(x), inplace=True))
        return out
