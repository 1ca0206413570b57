"""Checks a region that a caller of the Python interface passes."""

from __future__ import annotations

from operator import index

from bbmr_shared.compositing.region import Region, check_region
from bbmr_shared.errors import InvalidArgumentError


def checked_region(region: Region, size: tuple[int, int] | None = None) -> Region:
    """Returns `region` as four plain integers: x, y, width, height in pixels.

    size: width and height of the picture; None if they are not known, and then any right and lower end is allowed.

    Raises:
        InvalidArgumentError: it is not four whole numbers, is empty, or leaves the picture.
    """
    try:
        x, y, width, height = (index(value) for value in region)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"a region is x, y, width and height in whole pixels, not {region!r}"
        ) from None
    if x < 0 or y < 0:
        raise InvalidArgumentError(f"a region begins at 0 or more, unlike {x},{y},{width},{height}")
    right, bottom = size or (x + width, y + height)
    check_region((x, y, width, height), right, bottom)
    return x, y, width, height
