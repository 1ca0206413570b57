"""Validation: the gain of a model over the composite, in dB, on pictures held out from training."""

from __future__ import annotations

import torch
from torch import Tensor

from bbmr_models.jointsr import JointSR

from .colour import LUMA_SHARE, weighted_ycbcr
from .data import Samples

Gains = dict[str, list[float]]
"""Condition → mean gain in dB in PSNR-Y, in PSNR of YCbCr weighted 6:1:1, and in PSNR-RGB."""


def gains(model: JointSR, samples: Samples) -> Gains:
    """Return the gain of the model over the composite, as a mean over the pictures of each condition.

    Pictures whose composite is exact are left out.
    """
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for name, canvas, target in samples:
            restored = (model(canvas).clamp(0, 1) * 255).round() / 255
            before, after = _errors(canvas.base - target), _errors(restored - target)
            inexact = before.amin(1) > 0
            gain = 10 * (before / after.clamp_min(1e-12)).log10()
            found.setdefault(name, []).append(gain[inexact])
    means = {name: torch.cat(parts).mean(0) for name, parts in found.items()}
    return {
        name: [round(x, 4) for x in mean.tolist()] for name, mean in means.items() if mean.isfinite().all()
    }


def _errors(difference: Tensor) -> Tensor:
    """Return the mean squared errors of each picture in Y, weighted and in RGB, `[N, 3, H, W]` → `[N, 3]`."""
    weighted = weighted_ycbcr(difference).square().mean((2, 3))
    return torch.stack((weighted[:, 0] / LUMA_SHARE, weighted.sum(1), difference.square().mean((1, 2, 3))), 1)
