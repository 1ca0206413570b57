"""Writes reconstructed pictures as PNG, WebP, AVIF or JPEG with their metadata.

Metadata that a format cannot hold (EXIF or XMP over JPEG's 64 KB, EXIF that cannot be parsed) is left out; a picture
that is too large for a format is refused.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image, PngImagePlugin

from bbmr_shared.errors import LimitExceededError, UsageError
from bbmr_shared.limits import (
    AVIF_MAX_SIDE,
    JPEG_MAX_DPI,
    JPEG_MAX_METADATA,
    JPEG_MAX_SIDE,
    MAX_DPI,
    PNG_MAX_SIDE,
    WEBP_MAX_SIDE,
)

from .exif import EXIF_MARKER, is_bounded

XMP_KEYWORD = "XML:com.adobe.xmp"
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


@dataclass(frozen=True)
class OutputFormat:
    """One row of the table: media type, file extension, longest side in pixels, whether it holds alpha, which of
    Pillow's grey modes it takes, the most pixels per inch it can name (0: none), and Pillow's arguments.
    """

    name: str
    mime: str
    extension: str
    max_side: int
    alpha: bool
    grey: tuple[str, ...] = ()
    max_dpi: float = 0.0
    arguments: Mapping[str, object] = field(default_factory=dict)


def encode_picture(image: Image.Image, format: str = "png") -> bytes:
    """Returns a file of `image` (any mode that converts to RGB) with the ICC profile, EXIF and XMP in its `info`.

    PNG is lossless; the others are near-transparent. JPEG has no alpha: the picture is laid on white.

    Raises:
        UsageError: the format is unknown.
        LimitExceededError: a side is longer than the format can hold.
    """
    row = get_format(format)
    if max(image.size) > row.max_side:
        raise LimitExceededError(
            f"{row.name} holds at most {row.max_side} pixels a side, not {image.width}×{image.height}; "
            "ask for png"
        )
    info = _metadata(image, row)
    out = io.BytesIO()
    plain = _plain(image, row)
    arguments = dict(row.arguments)
    if plain.mode == "L" and "subsampling" in arguments:  # it would be written with three channels
        del arguments["subsampling"]
    plain.save(out, row.name.upper(), **arguments, **info)
    return out.getvalue()


def get_format(name: str) -> OutputFormat:
    """Returns the output format of that name in upper or lower case; "jpg" is "jpeg".

    Raises:
        UsageError: the format is unknown.
    """
    key = str(name).lower().lstrip(".")
    row = OUTPUT_FORMATS.get("jpeg" if key == "jpg" else key)
    if row is None:
        raise UsageError(f"the output format is one of {', '.join(OUTPUT_FORMATS)}, not {key[:32]}")
    return row


def format_of_name(name: str) -> OutputFormat | None:
    """Returns the output format of a file's extension, or None."""
    _, dot, ending = os.path.basename(name).rpartition(".")
    try:
        return get_format(ending) if dot else None
    except UsageError:
        return None


def _plain(image: Image.Image, row: OutputFormat) -> Image.Image:
    """The picture in a mode that every row of the table takes."""
    has_alpha = image.mode in ALPHA_MODES or "transparency" in image.info
    if image.mode in row.grey and not image.info.get("transparency"):
        plain = image.copy()
    elif has_alpha and row.alpha:
        plain = image.convert("RGBA")
    elif has_alpha:
        rgba = image.convert("RGBA")
        plain = Image.new("RGB", image.size, (255, 255, 255))
        plain.paste(rgba, mask=rgba.getchannel("A"))
        plain = plain.convert("L") if image.mode == "LA" else plain
    else:
        plain = image.convert("RGB")
    # Pillow would otherwise write some of it by itself, depending on the format.
    plain.info = {}
    return plain


def _metadata(image: Image.Image, row: OutputFormat) -> dict[str, object]:
    """Pillow's arguments for the metadata that this format can hold."""
    icc, exif, xmp = (_as_bytes(image.info.get(key)) for key in ("icc_profile", "exif", "xmp"))
    small = row.name == "jpeg"
    result: dict[str, object] = {}
    dpi = image.info.get("dpi")
    if dpi is not None and all(1 <= density <= row.max_dpi for density in dpi):
        result["dpi"] = dpi
    if icc:
        result["icc_profile"] = icc
    if exif and _parses(exif) and not (small and len(exif) > JPEG_MAX_METADATA):
        # Pillow's JPEG writer wants the marker, which containers do not carry; the others take it off.
        result["exif"] = EXIF_MARKER + exif.removeprefix(EXIF_MARKER)
    if not xmp or (small and len(xmp) > JPEG_MAX_METADATA):
        return result
    if row.name != "png":
        return {**result, "xmp": xmp}
    try:
        text = xmp.decode("utf-8")
    except UnicodeDecodeError:
        return result
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(XMP_KEYWORD, text)
    return {**result, "pnginfo": chunks}


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


def _parses(exif: bytes) -> bool:
    """Whether Pillow can read this EXIF block: AVIF's writer parses it and would fail on a damaged one."""
    if not is_bounded(exif.removeprefix(EXIF_MARKER)):
        return False
    try:
        parsed = Image.Exif()
        parsed.load(exif)
        parsed.tobytes()
    except Exception:
        return False
    return True


OUTPUT_FORMATS: dict[str, OutputFormat] = {
    row.name: row
    for row in (
        # Level 1: at the default level PNG takes longer than the network (83 s against 24 s for 16384²).
        OutputFormat(
            "png", "image/png", ".png", PNG_MAX_SIDE, True, ("L", "LA"), MAX_DPI, {"compress_level": 1}
        ),
        OutputFormat(
            "webp", "image/webp", ".webp", WEBP_MAX_SIDE, True, arguments={"quality": 90, "method": 4}
        ),
        OutputFormat(
            "avif",
            "image/avif",
            ".avif",
            AVIF_MAX_SIDE,
            True,
            ("L",),
            arguments={"quality": 85, "subsampling": "4:4:4", "speed": 8},
        ),
        OutputFormat(
            "jpeg",
            "image/jpeg",
            ".jpg",
            JPEG_MAX_SIDE,
            False,
            ("L",),
            JPEG_MAX_DPI,
            {"quality": 92, "subsampling": "4:4:4"},
        ),
    )
}
"""Every output format by name; "png" is the default."""
