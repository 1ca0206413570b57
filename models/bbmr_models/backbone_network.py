"""JointSR around a published backbone (`omnisr`, `craft`), on the HR/4 grid.

Its stem reads three levels of the composited canvas, and the rate and coding error of every sample's block. The deblock
branch reads the folded base.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbmr_shared.grid import RATES

from .backbones import BACKBONES
from .config import BACKBONE_GRID as GRID
from .jointsr import Canvas, JointSR, JointSRConfig

FOLDED = 3 * GRID * GRID
"""Channels of an RGB picture folded onto the HR/4 grid."""
HALF_FOLDED = 3 * (GRID // 2) ** 2


class BackboneNetwork(JointSR):
    """Stem, backbone, deblock branch and head. The canvas must hold all levels."""

    grid = GRID

    def __init__(self, config: JointSRConfig) -> None:
        super().__init__(config)
        (c,) = config.widths
        self.stem = nn.Conv2d(3 + HALF_FOLDED + FOLDED + len(RATES) + 1, c, 3, padding=1)
        self.backbone = BACKBONES[config.backbone].build(c, config.blocks)
        self.deblock = _DeblockBranch(config.deblock, c) if config.deblock else None
        self.head = nn.Conv2d(c, FOLDED, 3, padding=1)
        with torch.no_grad():  # so that an untrained network almost returns the composite
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()  # type: ignore[union-attr]
            self.stem.weight[:, -1].zero_()  # the coding error has no effect before training

    def folded_correction(self, canvas: Canvas, rate: Tensor, error: Tensor) -> Tensor:
        one_hot = self.one_hot(rate, canvas.base.dtype)
        stem_input, folded = _stem_input(canvas, rate, error, one_hot)
        stem = self.stem(stem_input)
        features = stem + self.backbone(stem)
        if self.deblock is not None:
            features = features + self.deblock(torch.cat((folded, one_hot), 1))
        out: Tensor = self.head(features)
        return out


def _stem_input(canvas: Canvas, rate: Tensor, error: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the stem's input (coarse canvas, known finer detail, rate, coding error) and the folded base."""
    assert canvas.half is not None
    assert canvas.quarter is not None
    folded = F.pixel_unshuffle(canvas.base, GRID) - 0.5
    quarter = canvas.quarter - 0.5
    fine = (folded - quarter.repeat_interleave(GRID**2, 1)) * (rate == 1)
    half = F.pixel_unshuffle(canvas.half, GRID // 2) - 0.5
    middle = (half - quarter.repeat_interleave((GRID // 2) ** 2, 1)) * (rate <= 2)
    return torch.cat((quarter, middle, fine, one_hot, error / 128), 1), folded


class _DeblockBranch(nn.Module):
    """Three 3×3 convolutions on the folded base and the rate map: they see where rates meet."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(FOLDED + len(RATES), width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out
