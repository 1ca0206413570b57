"""Converts pictures from the colour space of their ICC profile (ICC.1:2022) to sRGB.

Little CMS in Pillow does it, relative colorimetric with black point compensation, as browsers and Photoshop do.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeAlias

from PIL import Image, ImageCms

Convert: TypeAlias = Callable[[Image.Image], Image.Image]

HEADER_BYTES = 128
SPACE_OF_MODE = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}
"""Pillow's mode → the colour space in its profiles (ICC.1:2022, 7.2.8)."""


def space(icc: bytes | None) -> bytes | None:
    """Returns the colour space of a profile, such as b"RGB ", b"GRAY" or b"CMYK"; None if it is no profile."""
    if icc is None or len(icc) < HEADER_BYTES or icc[36:40] != b"acsp":
        return None
    return icc[16:20]


def to_srgb(icc: bytes, mode: str) -> Convert | None:
    """Returns a function that converts images of `mode` to sRGB; None if the profile cannot be used.

    The converted images have the mode RGB, or L if `mode` is L.
    """
    if space(icc) != SPACE_OF_MODE.get(mode):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return _grey_table(profile) if mode == "L" else _transform(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
        return None


def lab_to_srgb() -> Convert:
    """Returns a function that converts images of mode LAB (D50) to sRGB."""
    return _transform(
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB", ImageCms.Flags.NOOPTIMIZE
    )


def _grey_table(profile: ImageCms.ImageCmsProfile) -> Convert:
    """A table of all 256 greys: optimised transforms are up to 10/255 off in the shadows of linear light."""
    exact = _transform(profile, "L", ImageCms.Flags.NOOPTIMIZE)
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = list(exact(ramp).getchannel("G").tobytes())

    def convert(image: Image.Image) -> Image.Image:
        return image.point(table)

    return convert


def _transform(
    profile: ImageCms.ImageCmsProfile, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> Convert:
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=flags | ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )

    def convert(image: Image.Image) -> Image.Image:
        return transform.apply(image)

    return convert
