"""Bytes of each block: how a plane's bytes are shared among its blocks, estimated from a JPEG with restart markers.

Both codecs transform, quantise and code what is left, so blocks that are expensive in one are expensive in the other. A
JPEG takes a hundredth of the time of AVIF's, and its restart markers show where each block begins.
`benchmarks.quality.operating_points` compares the estimates with planes that hold only a part of the blocks.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.grid import BlockGrid
from bbmr_shared.limits import JPEG_MAX_SIDE

_MARKER, _FIRST, _LAST, _SCAN = 0xFF, 0xD0, 0xD7, 0xDA
_POWER = 1.15
"""Shares are in proportion to the JPEG's bytes to this power."""
_LEAST = 2.0
"""Bytes of a block without detail in the JPEG."""


def block_bytes(
    plane: NDArray[np.uint8], rate: int, grid: BlockGrid, quality: int, total: float
) -> NDArray[np.float64]:
    """Returns the bytes that each block is expected to take in a plane of `total` bytes: `float64 [rows, cols]`.

    They are in proportion to areas where no JPEG can be made: a side above 65,500, or blocks of no multiple of 8.

    Args:
        plane: the whole picture at `rate`, `uint8 [H/rate, W/rate, 3]`, or `[H/rate, W/rate]` if it is grey.
        quality: of the plane, on AVIF's scale.
    """
    side = grid.block // rate
    unit = 16 if side % 16 == 0 else 8
    if side % unit or side * max(grid.rows, grid.cols) > JPEG_MAX_SIDE:
        shares = grid.areas().astype(np.float64)
    else:
        shares = np.maximum(_jpeg_bytes(plane, grid, side, unit, quality), _LEAST) ** _POWER
    return np.asarray(shares * (total / shares.sum()))


def _jpeg_bytes(
    plane: NDArray[np.uint8], grid: BlockGrid, side: int, unit: int, quality: int
) -> NDArray[np.float64]:
    """Returns the bytes of every block in a baseline JPEG, less those of empty units."""
    bottom, right = grid.rows * side - plane.shape[0], grid.cols * side - plane.shape[1]
    padded = np.pad(plane, ((0, bottom), (0, right), *((0, 0),) * (plane.ndim - 2)), mode="edge")
    out = io.BytesIO()
    Image.fromarray(padded).save(
        out,
        "JPEG",
        quality=int(np.clip(round(_jpeg_quality(quality)), 1, 100)),
        subsampling="4:2:0" if unit == 16 else "4:4:4",
        restart_marker_blocks=side // (8 if plane.ndim == 2 else unit),
    )
    data = np.frombuffer(out.getvalue(), np.uint8)
    heads = np.flatnonzero(data[:-1] == _MARKER)
    kinds = data[heads + 1]
    scan = heads[kinds == _SCAN][-1]
    marks = heads[(kinds >= _FIRST) & (kinds <= _LAST) & (heads > scan)]
    lengths = np.diff(np.concatenate(([scan], marks, [len(data)]))).astype(np.float64)
    rows = lengths.reshape(grid.rows, -1, grid.cols)
    # a restart marker, and six bits for each unit of 8×8 samples without detail
    empty = 2 + 0.75 * (side // 8) * (1 if plane.ndim == 2 else 1.5)
    return np.asarray(np.maximum(rows - empty, 0).sum(axis=1))


def _jpeg_quality(quality: int) -> float:
    """The JPEG quality with about the quantiser of AVIF's quality."""
    return float(np.interp(quality, (0, 20, 40, 60, 80, 100), (3, 12, 30, 62, 88, 100)))
