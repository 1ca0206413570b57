"""Planes: each is a picture of the whole image at its rate, in which only the blocks of that rate are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import BlockGrid

GREY = 128
"""Fills the blocks of other rates in a plane."""


@dataclass(frozen=True)
class Plane:
    """One coded plane: the whole picture at 1/`rate`, grey outside the blocks of that rate.

    `codec` names a row of `codecs.CODECS`, `data` is a file of that format, `error` the coding error byte
    (`codecs.coding_error_byte`; 0 = lossless), `extra` holds unknown optional fields of the plane's entry. `quality` is
    what its encoder was told; the file does not have it.
    """

    rate: int
    codec: str
    data: bytes = field(repr=False)
    error: int = 0
    extra: Mapping[str, object] = field(default_factory=dict)
    quality: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class AlphaPlane:
    """The coded alpha channel: grey, at full resolution, not padded; fields as in `Plane`."""

    codec: str
    data: bytes = field(repr=False)
    extra: Mapping[str, object] = field(default_factory=dict)


def pad(samples: NDArray[np.uint8], grid: BlockGrid) -> NDArray[np.uint8]:
    """Replicates the right and bottom edge: `[height, width, …]` → `[padded_height, padded_width, …]`."""
    bottom, right = grid.padded_height - grid.height, grid.padded_width - grid.width
    if not bottom and not right:
        return samples
    return np.pad(samples, ((0, bottom), (0, right), *((0, 0),) * (samples.ndim - 2)), mode="edge")


def keep_blocks(
    plane: NDArray[np.uint8], rate: int, rate_map: NDArray[np.uint8], grid: BlockGrid
) -> NDArray[np.uint8]:
    """Returns the plane of `rate`, `uint8 [H/rate, W/rate, 3]`, with every block of another rate set to mid-grey."""
    own = grid.expand(rate_map == rate, rate)
    return np.where(own[:, :, None], plane, np.uint8(GREY))
