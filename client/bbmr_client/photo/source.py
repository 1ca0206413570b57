"""The file that a photo was read from: its bytes, and whether a container may carry them as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from .open import LEFT_OUT

CODEC_OF_FORMAT = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
"""Pillow's format → the codec whose plane such a file can be."""


@dataclass(frozen=True)
class SourceFile:
    """The file that a photo was read from.

    `codec` is the plane codec of its format, or None. `obstacle` is the reason why a container cannot carry the file
    as it is, or None where nothing is in the way.
    """

    data: bytes = field(repr=False)
    codec: str | None
    obstacle: str | None = None


def source_file(
    image: Image.Image, data: bytes, *, turned: bool, has_alpha: bool, keeps_profile: bool
) -> SourceFile:
    """Returns the source of a photo that was decoded from `image`.

    Args:
        image: the decoded image.
        data: the bytes of its file.
        turned: the photo is turned or mirrored against the file.
        has_alpha: the photo has an alpha channel.
        keeps_profile: the photo has the file's ICC profile.
    """
    obstacle = None
    if turned:
        obstacle = "it is stored turned"
    elif has_alpha:
        obstacle = "it has an alpha channel"
    elif image.info.get("icc_profile") and not keeps_profile:
        obstacle = "its profile is not kept"
    elif LEFT_OUT in image.info:
        obstacle = "its metadata are damaged"
    elif image.mode not in {"RGB", "L"}:
        obstacle = "its samples are not 8-bit RGB or grey"
    return SourceFile(data, CODEC_OF_FORMAT.get(image.format or ""), obstacle)
