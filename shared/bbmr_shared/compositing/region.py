"""Regions: rectangles of a picture, read from text and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bbmr_shared.arguments import is_whole
from bbmr_shared.errors import InvalidArgumentError

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the picture; x and y count from its upper left corner."""

_TEXT = re.compile(r"[0-9]{1,9},[0-9]{1,9},[0-9]{1,9},[0-9]{1,9}")


def parse_region(text: str) -> Region:
    """Returns the four numbers in "X,Y,W,H", which has ASCII digits and commas only.

    Raises:
        InvalidArgumentError: `text` has another form, or the rectangle is empty.
    """
    if not _TEXT.fullmatch(text):
        raise InvalidArgumentError(f"a region is X,Y,W,H in whole pixels, not {text[:100]!r}")
    x, y, width, height = map(int, text.split(","))
    if width < 1 or height < 1:
        raise InvalidArgumentError(f"a region has at least one pixel, unlike {text}")
    return x, y, width, height


def check_region(region: Region, width: int, height: int) -> None:
    """Check a region of a picture of `width`×`height` pixels.

    Raises:
        InvalidArgumentError: it is not four whole numbers, is empty, or leaves the picture.
    """
    if not isinstance(region, Sequence) or len(region) != 4 or not all(map(is_whole, region)):
        raise InvalidArgumentError("a region is four whole numbers: x, y, width, height")
    x, y, wide, high = region
    shown = ",".join(map(str, region))
    if wide < 1 or high < 1:
        raise InvalidArgumentError(f"a region has at least one pixel, unlike {shown}")
    if x < 0 or y < 0 or x + wide > width or y + high > height:
        raise InvalidArgumentError(f"the region {shown} leaves the picture of {width}×{height}")
