"""Bicubic planes and their errors on any device: the torch counterpart of `bbmr_shared.resample`.

A sample differs from Pillow's by at most 1/255: Pillow computes in fixed point, this module in floating point.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bbmr_models.training.colour import weighted_ycbcr
from bbmr_shared.grid import ALIGN, RATES


def bicubic(picture: Tensor, height: int, width: int) -> Tensor:
    """Resize `[3, H, W]` of 8-bit values, any dtype → float32 `[3, height, width]` of 8-bit values (Keys, antialiased).

    Like Pillow it resizes across, rounds to 8 bits, resizes down and rounds again.
    """
    samples = picture[None].float()
    for size in ((samples.shape[2], width), (height, width)):
        if samples.shape[2:] != size:
            samples = F.interpolate(samples, size, mode="bicubic", antialias=True)
            samples = samples.add_(0.5).floor_().clamp_(0, 255)
    return samples[0]


def make_planes(picture: Tensor) -> tuple[dict[int, Tensor], Tensor]:
    """Return the planes of a picture, and the error of each rate in each cell.

    Args:
        picture: `uint8 [H, W, 3]`, sides multiples of 16.

    Returns:
        rate → `uint8 [H/rate, W/rate, 3]`, and `float32 [H/16, W/16, rates]`: weighted squared error, summed.
    """
    height, width = picture.shape[:2]
    original = picture.permute(2, 0, 1).contiguous().float()
    planes, errors = {1: picture}, [original.new_zeros(height // ALIGN, width // ALIGN)]
    for rate in RATES[1:]:
        plane = bicubic(original, height // rate, width // rate)
        planes[rate] = plane.byte().permute(1, 2, 0).contiguous()
        errors.append(cell_errors(original, bicubic(plane, height, width)))
    return planes, torch.stack(errors, 2)


def cell_errors(a: Tensor, b: Tensor) -> Tensor:
    """Return the weighted squared error of each cell, summed: `[3, H, W]` twice → `[H/16, W/16]`."""
    error = weighted_ycbcr(a - b).square().sum(0)
    return F.avg_pool2d(error[None], ALIGN, divisor_override=1)[0]
