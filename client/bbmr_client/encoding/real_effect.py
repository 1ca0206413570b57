"""The network's real effect on a coded picture: the strength that each block should have, and the error that is left.

It runs the network of `bbmr_client.local`, which is worth its time only at high efforts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.container.block_maps import encode_map
from bbmr_shared.grid import BlockGrid

from .operating_points import multiplier

_ENTRY_BYTES = 30
"""Bytes of a strength map in the header beside its symbols."""


@dataclass(frozen=True)
class RealEffect:
    """Strength of the network in halves, for the picture or, with `strength_map`, for each block; the error left."""

    strength: int
    strength_map: NDArray[np.uint8] | None
    error: float


def best_strengths(
    padded: NDArray[np.uint8],
    base: NDArray[np.uint8],
    restored: NDArray[np.uint8],
    grid: BlockGrid,
    quality: float,
) -> RealEffect:
    """Returns the strengths of least error + λ · bits.

    Args:
        padded, base, restored: the photo, the composite, and the network's picture at full strength: `uint8 [H, W, 3]`.
        quality: 0 … 100.
    """
    middle = ((base.astype(np.uint16) + restored + 1) >> 1).astype(np.uint8)
    errors = np.stack(
        [grid.block_sums(weighted_squared_error(padded, one)) for one in (base, middle, restored)]
    )
    totals = errors.sum(axis=(1, 2))
    strength = int(totals.argmin())
    best = RealEffect(strength, None, float(totals[strength]))
    # the largest strength wins where it makes no difference
    each = (FULL_STRENGTH - errors[::-1].argmin(axis=0)).astype(np.uint8)
    data = encode_map(each)["data"]
    assert isinstance(data, bytes)
    bits = 8 * (_ENTRY_BYTES + len(data))
    error = float(errors.min(axis=0).sum())
    if error + multiplier(quality) * bits < best.error:
        return RealEffect(FULL_STRENGTH, each, error)
    return best
