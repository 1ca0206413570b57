"""Colour profiles: whether one can be used, and pixels through it to sRGB.

In: the bytes of an ICC profile (ICC.1:2022). Out: a function that converts Pillow images. Little CMS, as Pillow
brings it, does the work: relative colorimetric with black point compensation, as browsers and Photoshop do.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeAlias

from PIL import Image, ImageCms

Convert: TypeAlias = Callable[[Image.Image], Image.Image]

HEADER_BYTES = 128
SPACE_OF_MODE = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}
"""Pillow's mode → the colour space a profile for it names (ICC.1:2022, 7.2.8)."""


def space(icc: bytes | None) -> bytes | None:
    """The colour space a profile describes: b"RGB ", b"GRAY", b"CMYK"; None where it is no profile."""
    if icc is None or len(icc) < HEADER_BYTES or icc[36:40] != b"acsp":
        return None
    return icc[16:20]


def to_srgb(icc: bytes, mode: str) -> Convert | None:
    """What takes images of `mode` through the profile to sRGB (mode RGB); None where the profile cannot be used."""
    if space(icc) != SPACE_OF_MODE.get(mode):
        return None
    try:
        return _transform(ImageCms.ImageCmsProfile(io.BytesIO(icc)), mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
        return None


def lab_to_srgb() -> Convert:
    """What takes images of mode LAB (D50) to sRGB."""
    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> Convert:
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )

    def convert(image: Image.Image) -> Image.Image:
        return transform.apply(image)

    return convert
