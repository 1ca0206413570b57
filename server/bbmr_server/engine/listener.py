"""The events that a device reports while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.inference.tiles import Tile

from .job import Job
from .tile_queue import Entry


class DeviceListener(Protocol):
    """Implemented by `Pipeline`. Every method is called from the device's own thread."""

    def batch_started(self, jobs: Sequence[Job]) -> None:
        """Tiles of these jobs go to the worker now."""

    def tile_done(self, job: Job, tile: Tile, pixels: NDArray[np.uint8]) -> None:
        """A tile is done. `pixels` covers all of `tile.seen`; its memory is reused after the call."""

    def batch_done(self, model: str, pixels: int, seconds: float) -> None:
        """A batch with `pixels` in all took the device `seconds` with the weights `model`."""

    def job_failed(self, job: Job, error: BaseException) -> None:
        """A job cannot be done."""

    def tiles_lost(self, entries: Sequence[Entry], at_work: bool) -> None:
        """The worker died with these tiles; `at_work` if it was working on them, not only holding them."""

    def device_failed(self, error: BaseException) -> None:
        """The device was given up; no worker will run on it any more."""
