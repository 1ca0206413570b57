"""The names of plane codecs and picture formats, for modules that must not wait for numpy and Pillow.

`codecs.CODECS` and `output.OUTPUT_FORMATS` have the rows of these names; a test compares them. A new plane codec needs
a name here, a row in `codecs.py`, the longest side in `bbmr_shared.limits`, a probe beside those of the other formats,
tests, and its line in the documents.
"""

from __future__ import annotations

from enum import StrEnum


class CodecName(StrEnum):
    """The plane codecs that can be asked for."""

    WEBP = "webp"
    PNG = "png"
    AVIF = "avif"
    AV1 = "av1"
    JXL = "jxl"


class FormatName(StrEnum):
    """The formats that a picture can be written in."""

    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    JPEG = "jpeg"


LOSSLESS_CODECS: tuple[str, ...] = (CodecName.WEBP.value, CodecName.PNG.value)
"""Codecs that write planes without loss."""
DEFAULT_CODEC: str = LOSSLESS_CODECS[0]
LOSSY_CODECS: tuple[str, ...] = (CodecName.AVIF.value, CodecName.AV1.value)
"""Codecs that write planes with loss."""
DEFAULT_LOSSY_CODEC: str = CodecName.AV1.value
KNOWN_BUT_ABSENT: frozenset[str] = frozenset({CodecName.JXL.value})
"""Reserved names of codecs that are not built in."""
