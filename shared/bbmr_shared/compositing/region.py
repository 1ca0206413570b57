"""A region: the rectangle of a picture that is asked for. In: four numbers, or their text. Out: the same, checked."""

from __future__ import annotations

import re

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the picture; x and y count from its upper left corner."""

_TEXT = re.compile(r"[0-9]{1,9},[0-9]{1,9},[0-9]{1,9},[0-9]{1,9}")


def parse_region(text: str) -> Region:
    """ "X,Y,W,H" → four numbers; ASCII digits and commas only.

    Raises:
        ValueError: it is written otherwise, or the rectangle is empty.
    """
    if not _TEXT.fullmatch(text):
        raise ValueError(f"a region is X,Y,W,H in whole pixels, not {text[:100]!r}")
    x, y, width, height = map(int, text.split(","))
    if width < 1 or height < 1:
        raise ValueError(f"a region has at least one pixel, unlike {text}")
    return x, y, width, height


def check_region(region: Region, width: int, height: int) -> None:
    """Check a region against the picture's size in pixels.

    Raises:
        ValueError: it is empty, or leaves the picture.
    """
    x, y, wide, high = region
    shown = ",".join(map(str, region))
    if wide < 1 or high < 1:
        raise ValueError(f"a region has at least one pixel, unlike {shown}")
    if x < 0 or y < 0 or x + wide > width or y + high > height:
        raise ValueError(f"the region {shown} leaves the picture of {width}×{height}")
