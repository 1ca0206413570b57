"""Thumbnails: decoded planes in, a small picture out, without the network."""

from __future__ import annotations

from PIL import Image

from bbmr_shared.composite import Planes, composite, to_picture
from bbmr_shared.container import Container
from bbmr_shared.region import Region


def thumbnail(
    container: Container, planes: Planes, max_side: int, region: Region | None = None
) -> Image.Image:
    """The composite, cut to `region` and scaled down to at most `max_side` pixels a side; never scaled up."""
    picture = to_picture(composite(planes, container.rate_map, container.grid), container)
    carried = dict(picture.info)
    if region is not None:
        x, y, width, height = region
        picture = picture.crop((x, y, x + width, y + height))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    picture.info = carried
    return picture
