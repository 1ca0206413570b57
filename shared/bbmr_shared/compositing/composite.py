"""Compositing: decoded planes and a rate map become one picture, the base, bit for bit the same in every decoder.

docs/container.md, section 10, specifies it. Samples of the levels are integers with `FRACTION_BITS` fractional bits.
Going up a level uses Catmull-Rom (Keys, 1981, a = −0.5) at half-pixel centres; its weights are multiples of 1/128.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.arguments import check_type
from bbmr_shared.container import Container
from bbmr_shared.grid import RATES, BlockGrid

from .region import Region, check_region
from .window import window_around

FRACTION_BITS = 5
UNIT = 1 << FRACTION_BITS
MAX_LEVEL = 255 * UNIT
KERNEL_NEAR, KERNEL_MID, KERNEL_FAR, KERNEL_TAIL = 111, 29, -9, -3
"""Weights, in 1/128, of the samples at distance 0.25, 0.75, 1.25 and 1.75."""

DecodedPlanes = Mapping[int, NDArray[np.uint8]]
"""Rate → decoded plane, `uint8 [H/rate, W/rate, 3]`."""
Level = NDArray[np.int16]


def composite(planes: DecodedPlanes, rate_map: NDArray[np.uint8], grid: BlockGrid) -> NDArray[np.uint8]:
    """Returns the base, the padded picture without the network, `uint8 [padded_height, padded_width, 3]`.

    Args:
        planes: rate → `uint8 [padded_height / rate, padded_width / rate, 3]`, for every rate in `rate_map`.
        rate_map: `uint8 [rows, cols]`, the rate of every block.
        grid: the block grid of the picture.
    """
    if (rate_map == 1).all():
        return planes[1]
    levels = coarse_levels(planes, rate_map, grid, coarsest=int(rate_map.max()))
    return base(levels, planes, rate_map, grid)


def coarse_levels(
    planes: DecodedPlanes,
    rate_map: NDArray[np.uint8],
    grid: BlockGrid,
    finest: int = 2,
    coarsest: int = RATES[-1],
) -> dict[int, Level]:
    """Returns the levels 16, 8, 4 and 2: level → `int16 [padded_height / level, padded_width / level, 3]`.

    Values are in 0 … 255·32, with 5 fractional bits. Levels below `finest` and above `coarsest` are left out; no level
    depends on those above the largest rate in use. The other arguments are those of `composite`.
    """
    levels: dict[int, Level] = {}
    finer: Level | None = None
    for level in RATES[1:]:  # fine to coarse: what the planes say; elsewhere zero, filled in below
        if min(finest, *planes) <= level <= coarsest:
            levels[level] = finer = _known(level, finer, planes, rate_map, grid)
    levels = {level: levels[level] for level in levels if level >= finest}
    for level in reversed([level for level in RATES[1:-1] if level in levels]):  # coarse to fine: the rest
        for row, rows in enumerate(_block_rows(grid, level)):
            unknown = rate_map[row] > level
            if unknown.any():
                wide = _upsample_rows(levels[level * 2], rows)
                mask = np.repeat(unknown, grid.widths // level)
                np.copyto(levels[level][rows], wide, where=mask[None, :, None], casting="same_kind")
    return levels


def base(
    levels: Mapping[int, Level],
    planes: DecodedPlanes,
    rate_map: NDArray[np.uint8],
    grid: BlockGrid,
    block_rows: range | None = None,
) -> NDArray[np.uint8]:
    """Returns level 1 in 8 bits, halves rounded up; `levels` are from `coarse_levels`.

    With `block_rows` (of step 1) it returns only these rows of blocks. It works on one row at a time to save memory.
    """
    slices = _block_rows(grid, 1)
    wanted = range(grid.rows) if block_rows is None else block_rows
    first = slices[wanted.start].start
    out_of_all = np.empty((slices[wanted.stop - 1].stop - first, grid.padded_width, 3), np.uint8)
    for row in wanted:
        rows = slices[row]
        out = out_of_all[rows.start - first : rows.stop - first]
        own = rate_map[row] == 1
        if not own.all():
            wide = _upsample_rows(levels[2], rows)
            wide += UNIT // 2
            wide >>= FRACTION_BITS
            out[:] = wide
        if own.any():
            mask = np.repeat(own, grid.widths)
            np.copyto(out, planes[1][rows], where=mask[None, :, None])
    return out_of_all


def reduced(
    planes: DecodedPlanes, rate_map: NDArray[np.uint8], grid: BlockGrid, level: int
) -> NDArray[np.uint8]:
    """Returns a level in 8 bits, halves rounded up: `uint8 [padded_height / level, padded_width / level, 3]`.

    Level 1 is `composite`, which explains the other arguments. Coarser levels take less time.
    """
    if level == 1:
        return composite(planes, rate_map, grid)
    coarsest = max(level, int(rate_map.max()))
    samples = coarse_levels(planes, rate_map, grid, level, coarsest)[level]
    return ((samples + UNIT // 2) >> FRACTION_BITS).astype(np.uint8)


def preview(
    container: Container, region: Region | None = None, planes: DecodedPlanes | None = None
) -> Image.Image:
    """Returns the base of a container as a picture, or a `region` of it in pixels.

    `planes` is `container.decode_planes()`, if the caller has it already.

    Raises:
        PlaneError: a plane is damaged.
        InvalidArgumentError: the region is not inside the picture.
    """
    check_type("the container", container, Container)
    area = (0, 0, container.width, container.height) if region is None else region
    check_region(area, container.width, container.height)
    window = window_around(container.grid, area)
    rate_map = window.of_blocks(container.rate_map)
    decoded = container.decode_planes(frozenset(np.unique(rate_map).tolist())) if planes is None else planes
    canvas = composite(window.of_planes(decoded), rate_map, window.grid)
    return to_picture(canvas[area[1] - window.y :, area[0] - window.x :], container, area)


def to_picture(canvas: NDArray[np.uint8], container: Container, region: Region | None = None) -> Image.Image:
    """Returns the canvas as a picture without padding, with alpha and the photo's metadata, grey if the photo was.

    Args:
        canvas: `uint8 [h, w, 3]`: the whole padded picture, or, with `region`, at least that region's pixels.
        region: `(x, y, width, height)` in pixels of the picture; `canvas` then starts at its corner.
    """
    x, y, width, height = region or (0, 0, container.width, container.height)
    picture = Image.fromarray(np.ascontiguousarray(canvas[:height, :width]))
    if container.channels == 1:
        picture = picture.convert("L")
    alpha = container.decode_alpha()
    if alpha is not None:
        picture.putalpha(Image.fromarray(np.ascontiguousarray(alpha[y : y + height, x : x + width])))
    for key, value in (("icc_profile", container.icc), ("exif", container.exif), ("xmp", container.xmp)):
        if value is not None:
            picture.info[key] = value
    if container.dpi is not None:
        picture.info["dpi"] = container.dpi
    return picture


def _known(
    level: int, finer: Level | None, planes: DecodedPlanes, rate_map: NDArray[np.uint8], grid: BlockGrid
) -> Level:
    """Returns a level from its own plane in the blocks of its rate, and from 2×2 means of the finer level elsewhere.

    Samples of coarser blocks are arbitrary; they are replaced later.
    """
    if finer is not None:
        samples = _halve(finer)
    elif 1 in planes:
        samples = _halve(planes[1], UNIT)
    else:
        width, height = grid.plane_size(level)
        samples = np.zeros((height, width, 3), np.int16)
    if level in planes:
        own = grid.expand(rate_map == level, level)
        np.copyto(samples, planes[level].astype(np.int16) << FRACTION_BITS, where=own[:, :, None])
    return samples


def _halve(samples: NDArray[np.integer], unit: int = 1) -> Level:
    """The 2×2 means times `unit`, halves rounded up: `[h, w, 3]` → `int16 [h/2, w/2, 3]`; 4 · 255 · 32 fits 16 bits."""
    tall = samples[0::2].astype(np.int16)
    tall += samples[1::2]
    sums: Level = tall[:, 0::2] + tall[:, 1::2]
    if unit != 1:
        sums *= unit
    sums += 2
    sums >>= 2
    return sums


def _block_rows(grid: BlockGrid, level: int) -> list[slice]:
    """The samples of each row of blocks at a level, top to bottom."""
    bottoms = np.cumsum(grid.heights) // level
    return [
        slice(int(bottom - height // level), int(bottom))
        for bottom, height in zip(bottoms, grid.heights, strict=True)
    ]


def _upsample_rows(coarse: Level, rows: slice) -> NDArray[np.int32]:
    """Rows of the doubled picture: `int16 [h, w, 3]` → `int32 [rows, 2w, 3]`, clipped to 0 … 255·32.

    Vertical pass, then horizontal, each rounded; border samples are replicated.
    """
    index = np.arange(rows.start // 2 - 2, rows.stop // 2 + 2).clip(0, coarse.shape[0] - 1)
    tall = _double(coarse[index].astype(np.int32))
    index = np.arange(-2, coarse.shape[1] + 2).clip(0, coarse.shape[1] - 1)
    wide = _double(tall[:, index].transpose(1, 0, 2)).transpose(1, 0, 2)
    return np.clip(wide, 0, MAX_LEVEL, out=wide)


def _double(x: NDArray[np.int32]) -> NDArray[np.int32]:
    """Twice as many rows: `int32 [h + 4, w, 3]`, two rows of border at each end → `int32 [2h, w, 3]`."""
    t0, t1, t2, t3, t4 = (x[start : x.shape[0] - 4 + start] for start in range(5))
    near = t2 * KERNEL_NEAR + 64
    even = near + t0 * KERNEL_TAIL
    even += t1 * KERNEL_MID
    even += t3 * KERNEL_FAR
    near += t1 * KERNEL_FAR
    near += t3 * KERNEL_MID
    near += t4 * KERNEL_TAIL
    out = np.empty((2 * near.shape[0], *near.shape[1:]), np.int32)
    np.right_shift(even, 7, out=out[0::2])
    np.right_shift(near, 7, out=out[1::2])
    return out
