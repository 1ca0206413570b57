"""The U-shaped network that is to become the second version of `light`.

It works on the composite alone, on grids of HR/2, HR/4 and HR/8. The fine level repairs coding errors and the borders
between rates; the coarse levels see a wide context at little cost. It is in training; `light` is still the default.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bbmr_shared.grid import RATES

from .backbones.light import ResidualBlock

GRID = 2
"""The finest level works at 1/2 of the picture's resolution."""
ALIGN = 8
"""Sides of the picture are multiples of this."""
FOLDED = 3 * GRID**2
INPUTS = FOLDED + len(RATES) + 1
WIDTHS, BLOCKS = (32, 48, 64), 2


class JointUNet(nn.Module):
    """Composite → picture. `widths` are the channels at HR/2, HR/4 and HR/8, `blocks` the residual blocks at HR/8."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        fine, middle, coarse = widths
        self.stem = nn.Conv2d(INPUTS, fine, 3, padding=1)
        self.fine_in, self.fine_out = ResidualBlock(fine), ResidualBlock(fine)
        self.down1 = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_in, self.middle_out = ResidualBlock(middle), ResidualBlock(middle)
        self.down2 = nn.Conv2d(middle, coarse, 2, stride=2)
        self.body = nn.Sequential(*(ResidualBlock(coarse) for _ in range(blocks)))
        self.up2 = nn.Conv2d(coarse, 4 * middle, 1)
        self.up1 = nn.Conv2d(middle, 4 * fine, 1)
        self.head = nn.Conv2d(fine, FOLDED, 3, padding=1)
        with torch.no_grad():  # an untrained network returns almost the composite
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()  # type: ignore[union-attr]
        self.palette: Tensor
        self.register_buffer("palette", torch.tensor(RATES).view(1, -1, 1, 1), persistent=False)

    @property
    def radius(self) -> int:
        """Pixels of context that an output pixel depends on, in each direction."""
        convolutions = {2: 2 + 4, 4: 4, 8: 2 * self.blocks}
        return sum(scale * count for scale, count in convolutions.items()) + ALIGN

    def forward(self, base: Tensor, rate: Tensor, error: Tensor) -> Tensor:
        """Return the picture, `[N, 3, H, W]` in about 0 … 1. Samples at rate 1 without coding error stay as they are.

        Args:
            base: the composite, `[N, 3, H, W]` in 0 … 1; H and W are multiples of 8.
            rate: the rate of each sample's block, `[N, 1, H/2, W/2]`.
            error: the coding error byte of its plane, `[N, 1, H/2, W/2]`; 0 is lossless.
        """
        one_hot = torch.eq(rate, self.palette).to(base.dtype)
        folded = F.pixel_unshuffle(base - 0.5, GRID)
        fine = self.fine_in(self.stem(torch.cat((folded, one_hot, log_error(error)), 1)))
        middle = self.middle_in(self.down1(fine))
        coarse = self.down2(middle)
        coarse = coarse + self.body(coarse)
        middle = self.middle_out(middle + F.pixel_shuffle(self.up2(coarse), 2))
        fine = self.fine_out(fine + F.pixel_shuffle(self.up1(middle), 2))
        correction = self.head(fine) * ((rate > 1) | (error > 0))
        return base + F.pixel_shuffle(correction, GRID)


def log_error(error: Tensor) -> Tensor:
    """Coding error bytes (tenths of log₂ of the mean squared error; 0 is lossless) → log₂(1 + error) / 8."""
    mse = torch.exp2((error.float() - 81) / 10)
    return torch.where(error > 0, torch.log2(1 + mse) / 8, 0)


def save_unet(model: JointUNet, path: Path, notes: dict[str, Any]) -> None:
    """Write the weights in half precision, with widths, depth and `notes` in the metadata."""
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    config = json.dumps({"widths": model.widths, "blocks": model.blocks})
    save_file(tensors, path, {"config": config, "notes": json.dumps(notes)})


def load_unet(path: Path) -> JointUNet:
    """Return the network of a file by `save_unet`, in single precision."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    model = JointUNet(tuple(config["widths"]), config["blocks"])
    model.load_state_dict(state)
    return model
