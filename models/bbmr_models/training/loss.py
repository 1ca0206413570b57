"""What the networks are trained for.

On lossless planes: the mean absolute error, with a larger weight near borders between rates. On coded pictures: the
squared errors in YCbCr weighted 6:1:1 and in RGB, each relative to the error of the composite. So every quality counts
alike, as in a mean of dB or a BD-rate, and so does lost chroma, which 6:1:1 hardly sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bbmr_models.composite import expand_cells
from bbmr_models.jointsr import Canvas

from .colour import weighted_ycbcr

BORDER_WEIGHT = 4.0
BORDER = 4
"""Pixels on both sides of a border that weigh more."""
RGB_SHARE = 2 / 3
"""Share of the error in RGB."""
LEAST_MSE = 0.3
"""Below this error of the composite, in 8-bit steps squared, pictures weigh alike."""


def border_error(picture: Tensor, target: Tensor, canvas: Canvas) -> Tensor:
    """Return the mean of |picture − target| · `border_weight`, a scalar.

    Args:
        picture: what the network made of `canvas`, `[N, 3, H, W]`.
        target: the original, `[N, 3, H, W]`.
    """
    return ((picture - target).abs() * border_weight(canvas)).mean()


def border_weight(canvas: Canvas) -> Tensor:
    """Return the weight of each pixel in the loss, `[N, 1, H, W]`.

    Pixels near a border between rates weigh more: they are few, and errors there show as a seam.
    """
    rate = expand_cells(canvas.rate, BORDER).float()
    differs = F.max_pool2d(rate, 3, 1, 1) != -F.max_pool2d(-rate, 3, 1, 1)
    return 1 + (BORDER_WEIGHT - 1) * F.interpolate(differs.float(), scale_factor=BORDER)


def relative_error(picture: Tensor, target: Tensor, base: Tensor, mse: Tensor) -> Tensor:
    """Return the mean squared errors (6:1:1 and RGB) over those of the composite, added by their shares, a scalar.

    Args:
        picture, target, base: `[N, 3, H, W]` in 0 … 1; the base is the composite.
        mse: `[N]`, squared error (6:1:1) of the composite of the whole picture, in 8-bit steps.
    """
    difference = (picture - target) * 255
    weighted = weighted_ycbcr(difference).square().sum(1).mean((1, 2)) / mse.clamp_min(LEAST_MSE)
    before = ((base - target) * 255).square().mean((1, 2, 3))
    # a crop may be almost exact where its picture is not
    rgb = difference.square().mean((1, 2, 3)) / torch.maximum(before, mse).clamp_min(LEAST_MSE)
    return (weighted * (1 - RGB_SHARE) + rgb * RGB_SHARE).mean()
