"""Training on coded pictures: random windows of the datasets, each in one of eight orientations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bbmr_models.jointsr import Canvas
from bbmr_models.training.config import TrainingConfig
from bbmr_models.training.data import Batch
from bbmr_models.training.loss import relative_error
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import ALIGN

from .dataset import CodedDataset, CodedPicture

VALIDATION_CELLS = 24
"""Largest side of a picture for validation, in cells of 16 pixels."""


class CodedData:
    """`TrainingData` from coded pictures.

    Args:
        dataset: the pictures.
        config: crops.
        seed: seed of the data order.
        device: where batches are needed.

    Raises:
        UsageError: if a picture is smaller than a crop.
    """

    def __init__(
        self, dataset: CodedDataset, config: TrainingConfig, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self._dataset, self._config, self._device = dataset, config, device
        if dataset.least_cells * ALIGN < config.crop:
            side = dataset.least_cells * ALIGN
            raise UsageError(
                f"the dataset has pictures of {side} pixels a side: crops of {config.crop} do not fit"
            )
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self) -> Batch:
        drawn = torch.rand((self._config.batch, 4), generator=self.generator, dtype=torch.float64)
        cells = self._config.crop // ALIGN
        windows = [
            turned(self._dataset.draw(picture, top, left, cells), int(turn * 8))
            for picture, top, left, turn in drawn.tolist()
        ]
        return self._batch(windows)

    def loss(self, picture: Tensor, batch: Batch) -> Tensor:
        assert batch.mse is not None
        return relative_error(picture.float(), batch.target, batch.canvas.base, batch.mse)

    def validation(self) -> Iterator[tuple[str, Canvas, Tensor]]:
        """Yield the centre of every held-out picture."""
        for condition, window in self._dataset.validation(VALIDATION_CELLS):
            batch = self._batch([window])
            yield condition, batch.canvas, batch.target

    def _batch(self, windows: Sequence[CodedPicture]) -> Batch:
        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(window, name) for window in windows])).to(self._device)

        base, target = (stacked(name).permute(0, 3, 1, 2).float() / 255 for name in ("base", "target"))
        mse = torch.tensor([window.mse for window in windows], device=self._device)
        return Batch(Canvas(base, stacked("rate"), stacked("error")), target, mse)


def turned(window: CodedPicture, turn: int) -> CodedPicture:
    """Return a square window flipped and transposed, one of eight ways."""

    def turn_one(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
        samples = samples[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
        return np.ascontiguousarray(samples.swapaxes(0, 1) if turn & 4 else samples)

    base, target, rate, error, mse = window
    return CodedPicture(turn_one(base), turn_one(target), turn_one(rate), turn_one(error), mse)
