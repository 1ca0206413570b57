"""A runner: one life of the worker of a device, as the thread that has it sees it. Plain interface, no processes here.

In: weights and batches of tiles. Out: pixels, or one of the errors below. `process.ProcessRunner` is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.inference.tile_input import TileInput


class WorkerDiedError(Exception):
    """The worker has ended, or hangs, and everything under way in it is lost. `str()` says what is known of it."""


class OutOfMemoryError(Exception):
    """The oldest batch under way did not fit the device's memory; the worker lives on."""


class BatchError(Exception):
    """The network failed on the oldest batch under way; the worker lives on."""


@dataclass(frozen=True)
class Done:
    """A batch that went through the network.

    Attributes:
        pixels: `uint8 [N, H, W, 3]`; may be written over from the next `begin` on.
        seconds: how long the device was busy with it.
        memory: bytes that the device holds now: of the GPU, or resident of the worker on the CPU.
    """

    pixels: NDArray[np.uint8]
    seconds: float
    memory: int


class Runner(Protocol):
    """Used from one thread. Every method may raise `WorkerDiedError`."""

    depth: int
    """Batches that may be under way at once: the worker has the next one at hand when it has done one."""

    def load(self, key: str, name: str, data: bytes) -> None:
        """Make the weights file `data` ready to run under `key`, and try it. Nothing may be under way.

        Raises:
            BbmrError: it cannot be; whatever was loaded before stays.
        """

    def drop(self, key: str) -> None:
        """Forget what was loaded under `key`. Nothing may be under way."""

    def begin(self, key: str, tiles: Sequence[TileInput]) -> None:
        """Hand over tiles of one shape; they are copied. Fewer than `depth` batches are under way."""

    def finish(self) -> Done:
        """Wait for the oldest batch under way. Raises `OutOfMemoryError` or `BatchError` where it has failed."""

    def check(self) -> None:
        """Nothing, where the worker lives."""

    def kill(self) -> None:
        """End the worker at once, whatever it does. May be called from any thread, at any time."""

    def close(self) -> None:
        """End the worker, whatever it does. Never raises; a second call does nothing."""


Launch = Callable[[str], Runner]
"""`launch(device)`: start a worker; nothing is loaded yet. May raise a `BbmrError` or `WorkerDiedError`."""
