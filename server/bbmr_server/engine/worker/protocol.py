"""The handle by which a device's thread uses its worker: the interface and its errors, without any process.

In: weights and batches of tiles. Out: pixels, or one of the errors below. `process.WorkerProcess` implements it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.inference.tile_input import TileInput


class WorkerDiedError(Exception):
    """The worker has ended, or hangs, and its batches are lost. `str()` says what is known about it."""


class OutOfMemoryError(Exception):
    """The oldest batch in the worker did not fit the device's memory; the worker lives on."""


class BatchError(Exception):
    """The network failed on the oldest batch in the worker; the worker lives on."""


@dataclass(frozen=True)
class BatchResult:
    """A batch that went through the network.

    Attributes:
        pixels: `uint8 [N, H, W, 3]`; the next `begin` may overwrite them.
        seconds: how long the device was busy with the batch.
        memory: bytes that the worker uses now: of the GPU, or of resident memory on the CPU.
    """

    pixels: NDArray[np.uint8]
    seconds: float
    memory: int


class WorkerHandle(Protocol):
    """One worker, from its start to its end. Used from one thread. Every method may raise `WorkerDiedError`."""

    depth: int
    """Batches that the worker may have at once, so that it finds the next one when it has done one."""

    def load(self, key: str, name: str, data: bytes) -> None:
        """Load the weights file `data` under `key`, and try it. The worker must have no batch.

        Raises:
            BbmrError: the weights cannot be used; those that were loaded before stay.
        """

    def drop(self, key: str) -> None:
        """Forget the weights `key`. The worker must have no batch."""

    def begin(self, key: str, tiles: Sequence[TileInput]) -> None:
        """Copy a batch of tiles of one shape to the worker, which must have fewer than `depth` batches."""

    def finish(self) -> BatchResult:
        """Wait for the oldest batch in the worker. Raises `OutOfMemoryError` or `BatchError` if it failed."""

    def check(self) -> None:
        """Raise `WorkerDiedError` if the worker has ended."""

    def kill(self) -> None:
        """End the worker at once. May be called from any thread, at any time."""

    def close(self) -> None:
        """End the worker and free what it had. Never raises; a second call does nothing."""


LaunchWorker = Callable[[str], WorkerHandle]
"""`launch(device)` starts a worker, without weights. May raise a `BbmrError` or `WorkerDiedError`."""
