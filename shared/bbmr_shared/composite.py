"""Compositing: decoded planes and a rate map become one canvas. This is the normative, integer definition.

In: one plane per rate in use and the rate map. Out: the pyramid of canvases (fixed point) and the base, the
8-bit picture that every decoder agrees on bit for bit. `docs/container.md` states the same in words.

Samples are integers with `FRACTION_BITS` fractional bits. Going up a level uses Catmull-Rom (Keys, 1981,
a = −0.5) at half-pixel centres; its weights at ±0.25, ±0.75, ±1.25 and ±1.75 are exact multiples of 1/128.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .grid import RATES, BlockGrid

if TYPE_CHECKING:
    from .container import Container

FRACTION_BITS = 5
UNIT = 1 << FRACTION_BITS
MAX_LEVEL = 255 * UNIT
KERNEL_NEAR, KERNEL_MID, KERNEL_FAR, KERNEL_TAIL = 111, 29, -9, -3
"""Weights, in 1/128, of the samples at distance 0.25, 0.75, 1.25 and 1.75."""

Samples = NDArray[np.int32]
Region = tuple[int, int, int, int]


def composite(
    planes: Mapping[int, NDArray[np.uint8]], rate_map: NDArray[np.uint8], grid: BlockGrid
) -> NDArray[np.uint8]:
    """The base: the picture without the network, padded, `uint8 [padded_height, padded_width, 3]`.

    Args:
        planes: rate → `uint8 [padded_height / rate, padded_width / rate, 3]`, for every rate in `rate_map`.
        rate_map: `uint8 [rows, cols]`, the rate of every block.
        grid: the grid both belong to.
    """
    return to_base(pyramid(planes, rate_map, grid)[1])


def pyramid(
    planes: Mapping[int, NDArray[np.uint8]], rate_map: NDArray[np.uint8], grid: BlockGrid
) -> dict[int, Samples]:
    """The canvas at every level: level → `int32 [padded_height / level, padded_width / level, 3]`.

    Values lie in 0 … 255·32, with 5 fractional bits.
    """
    known = _known(planes, rate_map, grid)
    coarsest = RATES[-1]
    canvases = {coarsest: known[coarsest]}
    for level in reversed(RATES[:-1]):
        canvas = upsample2(canvases[level * 2])
        mask = grid.expand(rate_map <= level, level)
        np.copyto(canvas, known[level], where=mask[:, :, None])
        canvases[level] = canvas
    return canvases


def to_base(canvas: Samples) -> NDArray[np.uint8]:
    """Fixed point to 8 bits, halves up: `int32 [H, W, 3]` → `uint8 [H, W, 3]`."""
    return ((canvas + UNIT // 2) >> FRACTION_BITS).astype(np.uint8)


def upsample2(samples: Samples) -> Samples:
    """Twice the size in both directions: vertical pass, then horizontal, each rounded; clipped to 0 … 255·32."""
    tall = _pass(samples)
    wide = _pass(tall.transpose(1, 0, 2)).transpose(1, 0, 2)
    return np.ascontiguousarray(np.clip(wide, 0, MAX_LEVEL, out=wide))


def preview(container: Container) -> Image.Image:
    """The composite of a container as a picture: no network. Raises `PlaneError` where a plane is damaged."""
    base = composite(container.decode_planes(), container.rate_map, container.grid)
    return to_picture(base, container)


def to_picture(
    canvas: NDArray[np.uint8], container: Container, region: Region | None = None
) -> Image.Image:
    """Cut the padding off and give back what the photo carried: alpha, ICC profile, EXIF, XMP.

    Args:
        canvas: `uint8 [h, w, 3]`: the whole padded picture, or, with `region`, at least that region's pixels.
        region: `(x, y, width, height)` in pixels of the picture; `canvas` then starts at its corner.
    """
    x, y, width, height = region or (0, 0, container.width, container.height)
    picture = Image.fromarray(np.ascontiguousarray(canvas[:height, :width]))
    alpha = container.decode_alpha()
    if alpha is not None:
        picture.putalpha(Image.fromarray(np.ascontiguousarray(alpha[y : y + height, x : x + width])))
    for key, value in (("icc_profile", container.icc), ("exif", container.exif), ("xmp", container.xmp)):
        if value is not None:
            picture.info[key] = value
    return picture


def _known(
    planes: Mapping[int, NDArray[np.uint8]], rate_map: NDArray[np.uint8], grid: BlockGrid
) -> dict[int, Samples]:
    """What the planes say at each level: own samples at the level's blocks, 2×2 means at finer blocks."""
    known: dict[int, Samples] = {}
    for level in RATES:
        width, height = grid.plane_size(level)
        if level == RATES[0]:
            samples = np.zeros((height, width, 3), np.int32)
        else:
            samples = _halve(known[level // 2])
        if level in planes:
            own = grid.expand(rate_map == level, level)
            np.copyto(samples, planes[level].astype(np.int32) << FRACTION_BITS, where=own[:, :, None])
        known[level] = samples
    return known


def _halve(samples: Samples) -> Samples:
    columns = samples[:, 0::2] + samples[:, 1::2]
    return (columns[0::2] + columns[1::2] + 2) >> 2


def _pass(samples: Samples) -> Samples:
    """Twice as many rows: `int32 [h, w, 3]` → `int32 [2h, w, 3]`, rounded, not clipped."""
    height = samples.shape[0]
    index = np.clip(np.arange(-2, height + 2), 0, height - 1)
    x = samples[index]  # row i of the input is row i + 2 here; the border rows are replicated
    out = np.empty((2 * height, *samples.shape[1:]), np.int32)
    near, before, after = x[2:-2], x[1:-3], x[3:-1]
    tail_before, tail_after = x[:-4], x[4:]
    out[0::2] = (
        tail_before * KERNEL_TAIL + before * KERNEL_MID + near * KERNEL_NEAR + after * KERNEL_FAR + 64
    ) >> 7
    out[1::2] = (
        before * KERNEL_FAR + near * KERNEL_NEAR + after * KERNEL_MID + tail_after * KERNEL_TAIL + 64
    ) >> 7
    return out
