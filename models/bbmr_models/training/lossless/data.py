"""Training on lossless planes: batches from the sampler, and held-out pictures at four settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas, JointSRConfig
from bbmr_models.training.config import TrainingConfig
from bbmr_models.training.data import Batch
from bbmr_models.training.loss import border_error

from .crop_settings import CropSettings
from .pool import PicturePool, hold_out
from .sampler import Sampler

CONDITIONS: dict[str, tuple[int | None, float]] = {
    "x4_uniform": (4, 0.0),
    "x2_uniform": (2, 0.0),
    "x4_blocks": (None, 1200.0),
    "x2_blocks": (None, 180.0),
}
"""Name → (uniform rate, or None; multiplier of the Lagrangian choice). These λ give overall rates of about 4 and 2."""


class LosslessData:
    """`TrainingData` from a pool of pictures.

    Args:
        pool: pictures for training and validation.
        model: whose rates and blocks are drawn.
        config: crops, and how many pictures are held out.
        seed: seed of the data order.

    Raises:
        UsageError: if there is only one photograph.
    """

    def __init__(self, pool: PicturePool, model: JointSRConfig, config: TrainingConfig, seed: int) -> None:
        settings = CropSettings(config.crop, config.batch, model.rates, model.block, config.uniform_rate)
        training, self._held_out = hold_out(pool, config.held_out)
        self._sampler = Sampler(training, settings, seed)
        self.generator = self._sampler.generator
        self._samples: list[tuple[str, Canvas, Tensor]] = []

    def draw(self) -> Batch:
        return Batch(*self._sampler.draw())

    def loss(self, picture: Tensor, batch: Batch) -> Tensor:
        return border_error(picture, batch.target, batch.canvas)

    def validation(self) -> list[tuple[str, Canvas, Tensor]]:
        """Return the centre of every held-out picture in batches, for every condition that the palette allows."""
        if not self._samples:
            self._samples = list(self._make_samples())
        return self._samples

    def _make_samples(self) -> Iterator[tuple[str, Canvas, Tensor]]:
        settings = replace(self._sampler.settings, uniform_rate=None)
        for name, (uniform, multiplier) in CONDITIONS.items():
            if uniform is None or uniform in settings.palette:
                for part in torch.arange(len(self._held_out)).split(settings.batch):
                    sampler = Sampler(self._held_out.subset(part.tolist()), settings, 0)
                    yield name, *sampler.centre_crops(uniform, multiplier)
