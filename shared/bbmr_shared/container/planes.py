"""Planes in place: each is a picture of the whole image at its rate, and only the blocks of that rate mean anything.

In: a picture, or all of it at 1/rate and the rate map. Out: the padded picture; the plane as a container holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.grid import BlockGrid

GREY = 128
"""What fills the blocks of other rates in a plane."""


@dataclass(frozen=True)
class Plane:
    """One plane as it lies in the file: the whole picture at 1/`rate`, grey outside the blocks of that
    rate.

    `codec` names a row of `codecs.CODECS`, `data` is that format's file, `error` the coding error byte
    (`codecs.coding_error_byte`; 0 = lossless), `extra` holds unknown optional fields of the plane's entry.
    """

    rate: int
    codec: str
    data: bytes = field(repr=False)
    error: int = 0
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class AlphaPlane:
    """The alpha channel as it lies in the file: grey, at full resolution, not padded; fields as in `Plane`."""

    codec: str
    data: bytes = field(repr=False)
    extra: Mapping[str, object] = field(default_factory=dict)


def pad(samples: NDArray[np.uint8], grid: BlockGrid) -> NDArray[np.uint8]:
    """Replicate the right and bottom edge: `[height, width, …]` → `[padded_height, padded_width, …]`."""
    bottom, right = grid.padded_height - grid.height, grid.padded_width - grid.width
    if not bottom and not right:
        return samples
    return np.pad(samples, ((0, bottom), (0, right), *((0, 0),) * (samples.ndim - 2)), mode="edge")


def keep_blocks(
    plane: NDArray[np.uint8], rate: int, rate_map: NDArray[np.uint8], grid: BlockGrid
) -> NDArray[np.uint8]:
    """The plane of `rate`, `uint8 [H/rate, W/rate, 3]`, with every block of another rate set to mid-grey."""
    own = grid.expand(rate_map == rate, rate)
    return np.where(own[:, :, None], plane, np.uint8(GREY))
