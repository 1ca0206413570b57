"""Small pictures of a container, without the network.

The picture is composited up to the coarsest level that is at least twice as large as the result, and scaled down with a
Lanczos filter. Of a region, only the samples that the filter uses are composited, and only their planes are decoded.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from bbmr_shared.arguments import check_type, is_whole
from bbmr_shared.container import Container
from bbmr_shared.errors import InvalidArgumentError
from bbmr_shared.grid import RATES

from .composite import DecodedPlanes, preview, reduced, to_picture
from .region import Region, check_region
from .window import reach_of, window_around

GAP = 2
"""A thumbnail is filtered from a level that is at least this many times larger (Pillow's `reducing_gap`)."""
LANCZOS_SUPPORT = 3
"""Samples that the filter reads on either side of its centre, times the factor by which it shrinks the picture."""


def thumbnail(
    container: Container, max_side: int, region: Region | None = None, planes: DecodedPlanes | None = None
) -> Image.Image:
    """Returns the base, cut to `region` and scaled down to at most `max_side` pixels a side; never scaled up.

    The samples that are filtered are bit for bit those of `at_level`.

    Args:
        max_side: the longest side of the result, at least 1.
        region: `(x, y, width, height)` in pixels of the picture; the whole picture without it.
        planes: `container.decode_planes()`, if the caller has it already.

    Raises:
        PlaneError: a plane is damaged.
        InvalidArgumentError: the region is not inside the picture, or `max_side` is no whole number above 0.
    """
    check_type("the container", container, Container)
    area = (0, 0, container.width, container.height) if region is None else region
    check_region(area, container.width, container.height)
    x, y, width, height = area
    if not is_whole(max_side) or max_side < 1:
        raise InvalidArgumentError(f"the longest side is a whole number above 0, not {max_side}")
    target = fitted(width, height, max_side)
    if target == (width, height):
        return preview(container, area, planes)
    level = level_for(container, (width, height), (GAP * target[0], GAP * target[1]))
    whole = _size_at(container, level)
    left, right = _seen(x / level, width / level, target[0], whole[0])
    top, bottom = _seen(y / level, height / level, target[1], whole[1])
    seen = _part(container, level, (left, top, right - left, bottom - top), planes)
    box = (x / level - left, y / level - top, (x + width) / level - left, (y + height) / level - top)
    picture = seen.resize(target, Image.Resampling.LANCZOS, box=box)
    picture.info = seen.info
    return picture


def at_level(container: Container, level: int, planes: DecodedPlanes | None = None) -> Image.Image:
    """Returns the base at 1/`level`, each side rounded up, with the photo's metadata.

    Raises:
        InvalidArgumentError: `level` is not one that `level_for` gives.
        PlaneError: a plane is damaged.
    """
    if level not in RATES or (level > 1 and container.alpha is not None):
        raise InvalidArgumentError(f"there is no level {level} of this picture")
    return _part(container, level, (0, 0, *_size_at(container, level)), planes)


def level_for(container: Container, size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Returns the coarsest level at which a part of `size` (width, height) has at least `wanted` pixels, or 1.

    For a picture with alpha it is 1: at a coarser level hidden colours would mix with visible ones.
    """
    if container.alpha is not None:
        return 1
    return max(
        (level for level in RATES if size[0] >= level * wanted[0] and size[1] >= level * wanted[1]), default=1
    )


def fitted(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Returns `width`×`height` scaled down to at most `max_side` a side, with the nearest possible aspect ratio."""
    if max(width, height) <= max_side:
        return width, height
    if width < height:
        return fitted(height, width, max_side)[::-1]
    exact = max_side * height / width
    around = (max(math.floor(exact), 1), max(math.ceil(exact), 1))
    return max_side, min(around, key=lambda side: abs(width / height - max_side / side))


def _size_at(container: Container, level: int) -> tuple[int, int]:
    """Width and height of the picture at 1/`level`."""
    return -(-container.width // level), -(-container.height // level)


def _seen(start: float, length: float, target: int, end: int) -> tuple[int, int]:
    """Returns (first, last + 1) of the samples, out of `end`, that the filter reads to make `target` of `length`."""
    support = LANCZOS_SUPPORT * max(1.0, length / target)
    return max(0, math.floor(start - support)), min(end, math.ceil(start + length + support))


def _part(container: Container, level: int, area: Region, planes: DecodedPlanes | None) -> Image.Image:
    """Returns a part of the composite at 1/`level`; `area` is in samples of that level."""
    x, y, width, height = area
    window = window_around(
        container.grid, (level * x, level * y, level * width, level * height), reach_of(level)
    )
    rate_map = window.of_blocks(container.rate_map)
    rates = frozenset(np.unique(rate_map).tolist())
    known = container.decode_planes(rates) if planes is None else {rate: planes[rate] for rate in rates}
    known = window.of_planes(known)
    canvas = reduced(known, rate_map, window.grid, level)
    return to_picture(canvas[y - window.y // level :, x - window.x // level :], container, area)
