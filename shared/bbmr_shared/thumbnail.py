"""Small pictures of a container, without the network and without compositing more than they need.

In: a container. Out: a picture of it at 1/2, 1/4, 1/8 or 1/16, or one that fits a given side. The pyramid of the
composite is climbed only to the level that is still twice as large as what is asked for; the rest is a Lanczos filter.
"""

from __future__ import annotations

import math

from PIL import Image

from .composite import Planes, reduced, to_picture
from .container import Container
from .grid import RATES
from .region import Region

GAP = 2
"""How many times larger than the thumbnail the level is that it is filtered from (Pillow's `reducing_gap`)."""


def thumbnail(
    container: Container, max_side: int, region: Region | None = None, planes: Planes | None = None
) -> Image.Image:
    """The composite, cut to `region` and scaled down to at most `max_side` pixels a side; never scaled up.

    Args:
        container: what is shown.
        max_side: the longest side of the result, at least 1.
        region: `(x, y, width, height)` in pixels of the picture; the whole picture without it.
        planes: `container.decode_planes()`, where that is done already.

    Raises:
        PlaneError: a plane is damaged.
    """
    x, y, width, height = region or (0, 0, container.width, container.height)
    target = fitted(width, height, max_side)
    level = level_for(container, (width, height), (GAP * target[0], GAP * target[1]))
    picture = at_level(container, level, planes)
    carried = picture.info
    if target == (width, height):
        picture = picture.crop((x, y, x + width, y + height))
    else:
        box = (x / level, y / level, (x + width) / level, (y + height) / level)
        picture = picture.resize(target, Image.Resampling.LANCZOS, box=box)
    picture.info = carried
    return picture


def at_level(container: Container, level: int, planes: Planes | None = None) -> Image.Image:
    """The composite at 1/`level`, each side rounded up, with what the photo carried.

    Raises:
        ValueError: `level` is not one that `level_for` gives.
        PlaneError: a plane is damaged.
    """
    if level not in RATES or (level > 1 and container.alpha is not None):
        raise ValueError(f"there is no level {level} of this picture")
    decoded = container.decode_planes() if planes is None else planes
    canvas = reduced(decoded, container.rate_map, container.grid, level)
    return to_picture(canvas, container, (0, 0, -(-container.width // level), -(-container.height // level)))


def level_for(container: Container, size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """The coarsest level at which a part of `size` (width, height) still has `wanted` pixels; 1 if there is none.

    A picture with alpha has level 1 only: its hidden colours would run into the visible ones at a coarser level.
    """
    if container.alpha is not None:
        return 1
    return max(
        (level for level in RATES if size[0] >= level * wanted[0] and size[1] >= level * wanted[1]), default=1
    )


def fitted(width: int, height: int, max_side: int) -> tuple[int, int]:
    """`width`×`height` scaled down to at most `max_side` a side, rounded so that the shape is kept best."""
    if max(width, height) <= max_side:
        return width, height
    if width < height:
        return fitted(height, width, max_side)[::-1]
    exact = max_side * height / width
    around = (max(math.floor(exact), 1), max(math.ceil(exact), 1))
    return max_side, min(around, key=lambda side: abs(width / height - max_side / side))
