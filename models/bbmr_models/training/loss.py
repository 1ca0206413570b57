"""The loss of the trainer: the mean absolute error, with a larger weight near borders between rates."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bbmr_models.composite import expand_cells
from bbmr_models.jointsr import Canvas

BORDER_WEIGHT = 4.0
BORDER = 4
"""Pixels on both sides of a border that weigh more."""


def weighted_error(picture: Tensor, target: Tensor, canvas: Canvas) -> Tensor:
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
