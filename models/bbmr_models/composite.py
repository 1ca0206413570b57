"""The torch counterpart of `bbmr_shared.compositing.composite`: the same canvas bit for bit, in batches, on any device.

In: planes `[N, 3, H/r, W/r]` and the rate of each 16×16 cell. Out: the pyramid of canvases. All arithmetic
uses integers in float32; the largest intermediate (about 1.5 million) is far below 2²⁴, so it is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from bbmr_shared.compositing.composite import (
    FRACTION_BITS,
    KERNEL_FAR,
    KERNEL_MID,
    KERNEL_NEAR,
    KERNEL_TAIL,
    MAX_LEVEL,
    UNIT,
)
from bbmr_shared.grid import ALIGN, RATES


def pyramid(planes: Mapping[int, Tensor], cells: Tensor, down_to: int = 1) -> dict[int, Tensor]:
    """Composite a batch of planes.

    Args:
        planes: rate → float32 `[N, 3, H/rate, W/rate]` with 8-bit values 0 … 255, for every rate in use.
        cells: `[N, H/16, W/16]`, the rate of each 16×16 cell (blocks are unions of cells).
        down_to: the finest level to make.

    Returns:
        level → float32 `[N, 3, H/level, W/level]`, integers 0 … 255·32 with 5 fractional bits.
    """
    known = _known(planes, cells)
    canvases = {RATES[-1]: known[RATES[-1]]}
    for level in reversed([rate for rate in RATES[:-1] if rate >= down_to]):
        mask = expand_cells(cells <= level, level)
        canvases[level] = torch.where(mask, known[level], upsample2(canvases[level * 2]))
    return canvases


def to_base(canvas: Tensor) -> Tensor:
    """Round fixed point to 8-bit values, halves up; still float32."""
    return torch.floor((canvas + UNIT // 2) / UNIT)


def expand_cells(cells: Tensor, at: int) -> Tensor:
    """`[N, H/16, W/16]` → `[N, 1, H/at, W/at]`."""
    times = ALIGN // at
    return cells.repeat_interleave(times, 1).repeat_interleave(times, 2).unsqueeze(1)


def upsample2(samples: Tensor) -> Tensor:
    """Return twice the size: a vertical pass, then a horizontal pass, each rounded; clipped to 0 … 255·32."""
    tall = _pass(F.pad(samples, (0, 0, 2, 2), mode="replicate"), 2)
    return _pass(F.pad(tall, (2, 2, 0, 0), mode="replicate"), 3).clamp_(0, MAX_LEVEL)


def _known(planes: Mapping[int, Tensor], cells: Tensor) -> dict[int, Tensor]:
    known: dict[int, Tensor] = {}
    finer: Tensor | None = None
    for level in RATES:
        own = planes.get(level)
        if own is not None:
            own = own * (1 << FRACTION_BITS)
        if finer is None:
            if own is None:
                any_rate, any_plane = next(iter(planes.items()))
                n, c, h, w = any_plane.shape
                own = any_plane.new_zeros(n, c, h * any_rate, w * any_rate)
            finer = own
        else:
            sums = F.avg_pool2d(finer, 2, divisor_override=1)
            halved = torch.floor((sums + 2) / 4)
            finer = halved if own is None else torch.where(expand_cells(cells == level, level), own, halved)
        known[level] = finer
    return known


def _pass(x: Tensor, axis: int) -> Tensor:
    """Double the samples along `axis` (2 or 3) of a tensor padded by two at both ends."""
    size = x.shape[axis] - 4
    t0, t1, t2, t3, t4 = (x.narrow(axis, start, size) for start in range(5))
    near = t2 * KERNEL_NEAR + 64
    even = near.add(t0, alpha=KERNEL_TAIL).add_(t1, alpha=KERNEL_MID).add_(t3, alpha=KERNEL_FAR)
    odd = near.add_(t1, alpha=KERNEL_FAR).add_(t3, alpha=KERNEL_MID).add_(t4, alpha=KERNEL_TAIL)
    out = torch.stack((even, odd), axis + 1).flatten(axis, axis + 1)
    return out.div_(128).floor_()
