"""Validation: the gain of a model over the composite, in dB, on pictures held out from training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas, JointSR

from .crop_settings import CropSettings
from .pool import PicturePool
from .sampler import Sampler

CONDITIONS: dict[str, tuple[int | None, float]] = {
    "x4_uniform": (4, 0.0),
    "x2_uniform": (2, 0.0),
    "x4_blocks": (None, 1200.0),
    "x2_blocks": (None, 180.0),
}
"""Name → (uniform rate, or None; multiplier of the Lagrangian choice). These λ give overall rates of about 4 and 2."""
Batches = Mapping[str, list[tuple[Canvas, Tensor]]]


def validation_batches(held_out: PicturePool, settings: CropSettings) -> Batches:
    """Return the centre of every picture in batches, for every condition that the palette allows."""
    settings = replace(settings, uniform_rate=None, coded_share=0.0)
    result = {}
    for name, (uniform, multiplier) in CONDITIONS.items():
        if uniform is None or uniform in settings.palette:
            parts = torch.arange(len(held_out)).split(settings.batch)
            samplers = (Sampler(held_out.subset(part.tolist()), settings, 0) for part in parts)
            result[name] = [sampler.centre_crops(uniform, multiplier) for sampler in samplers]
    return result


def gains(model: JointSR, batches: Batches) -> dict[str, float]:
    """Return the gain in PSNR (RGB, dB) of the model over the composite, per condition, as a mean over pictures."""
    result = {}
    with torch.inference_mode():
        for name, samples in batches.items():
            deltas = [_psnr(model(canvas), target) - _psnr(canvas.base, target) for canvas, target in samples]
            result[name] = torch.cat(deltas).mean().item()
    return result


def _psnr(picture: Tensor, target: Tensor) -> Tensor:
    """Return the PSNR of each picture after rounding to 8 bits, `[N]`."""
    rounded = (picture.clamp(0, 1) * 255).round() / 255
    errors = (rounded - target).square().mean((1, 2, 3))
    return -10 * errors.clamp_(min=1e-8).log10()
