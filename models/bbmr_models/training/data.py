"""What the training loop needs of its data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas


class Batch(NamedTuple):
    """A batch of crops.

    Attributes:
        canvas: the network's input.
        target: what it should return, float32 `[N, 3, H, W]` in 0 … 1.
        mse: the weighted squared error of the composite of each crop's picture, in 8-bit steps, `[N]`; None where the
            loss does not use it.
    """

    canvas: Canvas
    target: Tensor
    mse: Tensor | None = None


Samples = Iterable[tuple[str, Canvas, Tensor]]
"""Pictures for validation: condition, input and target, `[N, …]` each."""


class TrainingData(Protocol):
    """Batches for training, and held-out pictures. The state of `generator` is the data order."""

    generator: torch.Generator

    def draw(self) -> Batch:
        """Return the next batch, on the device."""

    def loss(self, picture: Tensor, batch: Batch) -> Tensor:
        """Return the loss of what the network made of a batch, a scalar."""

    def validation(self) -> Samples:
        """Return the held-out pictures, on the device."""
