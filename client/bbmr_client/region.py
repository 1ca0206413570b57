"""Checks a region that a caller of the Python interface passes."""

from __future__ import annotations

from operator import index

from bbmr_shared.compositing.region import Region, check_region
from bbmr_shared.errors import UsageError


def checked_region(region: Region, size: tuple[int, int] | None = None) -> Region:
    """Returns `region` as four plain integers: x, y, width, height in pixels.

    size: width and height of the picture; None if they are not known, and then any right and lower end is allowed.

    Raises:
        UsageError: it is not four whole numbers, is empty, or leaves the picture.
    """
    try:
        x, y, width, height = (index(value) for value in region)
    except (TypeError, ValueError):
        raise UsageError(f"a region is x, y, width and height in whole pixels, not {region!r}") from None
    right, bottom = size or (max(x, 0) + width, max(y, 0) + height)
    try:
        check_region((x, y, width, height), right, bottom)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return x, y, width, height
