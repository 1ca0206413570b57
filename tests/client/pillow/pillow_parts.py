"""Metadata and helpers for the tests of the Pillow plugin."""

from __future__ import annotations

import io

from PIL import Image, ImageCms, ImageFile

import bbmr_client.pillow  # noqa: F401  registers the format
from bbmr_shared.container import Container

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def exif(orientation: int | None = None, artist: str = "someone") -> Image.Exif:
    tags = Image.Exif()
    tags[315] = artist
    if orientation is not None:
        tags[274] = orientation
    return tags


def saved(image: Image.Image, **options: object) -> Container:
    """The container that Pillow writes."""
    file = io.BytesIO()
    image.save(file, "BBMR", **options)
    return Container.from_bytes(file.getvalue())


def opened(container: Container) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(container.to_bytes()))
