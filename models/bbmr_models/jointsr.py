"""JointSR: one network super-resolves the blocks of all rates jointly, on one canvas in one pass.

In: three levels of the composited canvas, and the rate and coding error of every sample's block. Out: the picture.
Stem, backbone and head work on the HR/4 grid; the deblock branch reads the folded base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbmr_shared.grid import RATES

from .backbones import BACKBONES
from .config import GRID, JointSRConfig

__all__ = ["FOLDED", "GRID", "Canvas", "JointSR", "JointSRConfig", "channels_last", "structure"]

FOLDED = 3 * GRID * GRID
"""Channels of an RGB picture folded onto the HR/4 grid."""
HALF_FOLDED = 3 * (GRID // 2) ** 2


class Canvas(NamedTuple):
    """The input of the network. Levels are float32 in 0 … 1.

    Attributes:
        base: `[N, 3, H, W]`, the composite, rounded to 8 bits.
        half, quarter: `[N, 3, H/2, W/2]`, `[N, 3, H/4, W/4]`, the composite's coarser levels.
        rate: `[N, 1, H/4, W/4]`, the rate of each sample's block.
        error: `[N, 1, H/4, W/4]`, the coding error byte of its plane; 0 is lossless.
        strength: `[N, 1, H/4, W/4]` in 0 … 1, the share of the correction to add; None adds all of it.
    """

    base: Tensor
    half: Tensor
    quarter: Tensor
    rate: Tensor
    error: Tensor
    strength: Tensor | None = None


class JointSR(nn.Module):
    """`Canvas` → picture, `[N, 3, H, W]` in about 0 … 1 (not clipped). H and W are multiples of 16.

    Samples at rate 1 without coding error are those of the photo; the network does not change them.
    """

    def __init__(self, config: JointSRConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.stem = nn.Conv2d(3 + HALF_FOLDED + FOLDED + len(RATES) + 1, c, 3, padding=1)
        self.backbone = BACKBONES[config.backbone].build(c, config.blocks)
        self.deblock = _DeblockBranch(config.deblock, c) if config.deblock else None
        self.head = nn.Conv2d(c, FOLDED, 3, padding=1)
        with torch.no_grad():  # so that an untrained network almost returns the composite
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()  # type: ignore[union-attr]
            self.stem.weight[:, -1].zero_()  # the coding error has no effect before training
        self.palette: Tensor
        self.register_buffer("palette", torch.tensor(RATES).view(1, -1, 1, 1), persistent=False)

    @property
    def radius(self) -> int | None:
        """Pixels of context that one output pixel depends on; None if it depends on the whole tile."""
        backbone = getattr(self.backbone, "radius", None)
        return None if backbone is None else (backbone + 2) * GRID + GRID

    def forward(self, canvas: Canvas) -> Tensor:
        correction = self.correction(canvas)
        return canvas.base + correction

    def correction(self, canvas: Canvas) -> Tensor:
        """Return what the network adds to the base, `[N, 3, H, W]`."""
        one_hot = torch.eq(canvas.rate, self.palette).to(canvas.base.dtype)
        stem_input, folded = self._stem_input(canvas, one_hot)
        stem = self.stem(stem_input)
        features = stem + self.backbone(stem)
        if self.deblock is not None:
            features = features + self.deblock(torch.cat((folded, one_hot), 1))
        out = self.head(features)
        out = out * ((canvas.rate > 1) | (canvas.error > 0))
        if canvas.strength is not None:
            out = out * canvas.strength
        return F.pixel_shuffle(out, GRID)

    def _stem_input(self, canvas: Canvas, one_hot: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stem's input (coarse canvas, known finer detail, rate, coding error) and the folded base."""
        folded = F.pixel_unshuffle(canvas.base, GRID) - 0.5
        quarter = canvas.quarter - 0.5
        fine = (folded - quarter.repeat_interleave(GRID**2, 1)) * (canvas.rate == 1)
        half = F.pixel_unshuffle(canvas.half, GRID // 2) - 0.5
        middle = (half - quarter.repeat_interleave((GRID // 2) ** 2, 1)) * (canvas.rate <= 2)
        parts = (quarter, middle, fine, one_hot, canvas.error / 128)
        return torch.cat(parts, 1), folded


def structure(state: Mapping[str, Tensor]) -> tuple[str, int, int, int]:
    """Return (backbone, channels, blocks, deblock) of a `JointSR`'s state dict, from names and shapes alone.

    Raises:
        ValueError: if it is not the state of a JointSR with a known backbone.
    """
    prefix = "backbone."
    inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    branch = state.get("deblock.layers.0.weight")
    for name, backbone in BACKBONES.items():
        try:
            channels, blocks = backbone.hyperparameters(inner)
        except KeyError:
            continue
        return name, channels, blocks, 0 if branch is None else branch.shape[0]
    raise ValueError("its tensors fit no known backbone")


def channels_last(model: JointSR) -> JointSR:
    """Lay out the weights for channels-last convolutions (a third faster on CPUs)."""
    # torch's signature of `Module.to` lacks this documented argument
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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
