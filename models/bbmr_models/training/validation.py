"""Validation: dB over the composite on pictures held out from training.

In: the held-out pool. Out: for four conditions, the mean gain of a model in PSNR (RGB).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas, JointSR

from .pool import Pool
from .sampler import Sampler
from .sampling import Sampling

CONDITIONS: dict[str, tuple[int | None, float]] = {
    "x4_uniform": (4, 0.0),
    "x2_uniform": (2, 0.0),
    "x4_blocks": (None, 1200.0),
    "x2_blocks": (None, 180.0),
}
"""name → one rate for all, or the multiplier of the Lagrangian choice (overall rates of about 4 and 2)."""
Batches = Mapping[str, list[tuple[Canvas, Tensor]]]


def validation(held: Pool, sampling: Sampling) -> Batches:
    """The centre of every held-out picture under every condition that the palette allows, in batches."""
    sampling = replace(sampling, uniform_rate=None, coded_share=0.0)
    result = {}
    for name, (uniform, multiplier) in CONDITIONS.items():
        if uniform is None or uniform in sampling.palette:
            parts = torch.arange(len(held)).split(sampling.batch)
            samplers = (Sampler(held.subset(part.tolist()), sampling, 0) for part in parts)
            result[name] = [sampler.fixed(uniform, multiplier) for sampler in samplers]
    return result


def gains(model: JointSR, batches: Batches) -> dict[str, float]:
    """dB (RGB) that the model adds to the composite, per condition, mean over pictures."""
    result = {}
    with torch.inference_mode():
        for name, samples in batches.items():
            deltas = [_psnr(model(canvas), target) - _psnr(canvas.base, target) for canvas, target in samples]
            result[name] = torch.cat(deltas).mean().item()
    return result


def _psnr(picture: Tensor, target: Tensor) -> Tensor:
    """PSNR of each picture in 8 bits, `[N]`."""
    rounded = (picture.clamp(0, 1) * 255).round() / 255
    errors = (rounded - target).square().mean((1, 2, 3))
    return -10 * errors.clamp_(min=1e-8).log10()
