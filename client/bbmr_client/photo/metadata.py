"""Reads EXIF, XMP and pixels per inch of a decoded image, as a container carries them.

Metadata that are damaged or too large are left out with a note; the picture is not refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from PIL import Image

from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_DPI, Limits

from . import upright_exif
from .pixels import TURNED

METADATA = ("all", "icc", "none")
"""The choices: keep everything; only the ICC profile; nothing, with the colours converted to sRGB."""

CENTIMETRES_PER_INCH = 2.54
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:\s*=\s*["\']|>))\s*[2-8]')


@dataclass(frozen=True)
class Metadata:
    """`exif` is the TIFF block without the "Exif" marker, orientation 1; `dpi` are pixels per inch across and down."""

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def check_metadata(metadata: str) -> None:
    """Raise `UsageError` unless `metadata` is one of `METADATA`."""
    if metadata not in METADATA:
        raise UsageError(f"the metadata to keep are {', '.join(METADATA)}, not {metadata}")


def read_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation (2 … 8) that is still to be applied, or 1.

    Without an orientation in EXIF, Pillow takes the one in XMP. The decoder of JPEG XL has already turned the picture
    as its codestream says, and EXIF does not count (ISO/IEC 18181-2, 9.6), unless the file holds a JPEG, which the
    plugin restores as it was.
    """
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1
    try:
        value = image.getexif().get(upright_exif.ORIENTATION, 1)
    except Exception:  # a damaged block can raise anything
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_metadata(image: Image.Image, orientation: int, size: tuple[int, int], limits: Limits) -> Metadata:
    """Returns all metadata but the ICC profile; `size` is (width, height) of the upright picture."""
    notes: list[str] = []
    exif = small("EXIF block", _exif(image, orientation, size, notes), limits.max_exif_bytes, notes)
    xmp = small("XMP packet", _xmp(image), limits.max_xmp_bytes, notes)
    dpi = _density(image)
    if dpi is not None and orientation in TURNED:
        dpi = dpi[1], dpi[0]
    return Metadata(exif, xmp, dpi, tuple(notes))


def small(what: str, block: bytes | None, most: int, notes: list[str]) -> bytes | None:
    """Returns `block`, or None and a note if it has more than `most` bytes."""
    if block is None or len(block) <= most:
        return block
    notes.append(f"its {what} has {len(block)} bytes, at most {most} are kept: it is left out")
    return None


def _exif(image: Image.Image, orientation: int, size: tuple[int, int], notes: list[str]) -> bytes | None:
    try:
        raw = _raw_exif(image)
        block = upright_exif.upright(raw, orientation != 1, size)
    except Exception:  # damaged blocks can raise anything
        raw, block = b"?", None
    if raw and block is None:
        notes.append("its EXIF block is damaged and is left out")
    return block


def _raw_exif(image: Image.Image) -> bytes | None:
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return raw
    tags = image.getexif()
    for structural in upright_exif.TIFF_LAYOUT_TAGS & set(tags):
        del tags[structural]
    return tags.tobytes() if len(tags) else None


def _xmp(image: Image.Image) -> bytes | None:
    raw = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(raw, tuple):
        raw = raw[0]
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "replace")
    if not isinstance(raw, bytes) or not raw:
        return None
    return _XMP_ORIENTATION.sub(rb"\g<1>1", raw)


def _density(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch across and down, before the picture is turned.

    `info["dpi"]` is not enough: Pillow sets 72 for a JPEG whose EXIF has no resolution, and 1 for such a TIFF.
    """
    info = image.info
    if image.format in {"JPEG", "MPO"} or getattr(image, "jpeg", False):
        unit, density = info.get("jfif_unit", 0), info.get("jfif_density")
        if unit in (1, 2) and density is not None:
            return _sane(density, CENTIMETRES_PER_INCH if unit == 2 else 1.0)
    elif image.format == "TIFF" and upright_exif.X_RESOLUTION not in getattr(image, "tag_v2", {}):
        return None
    elif "dpi" in info:
        return _sane(info["dpi"])
    try:
        tags = image.getexif()
        density = tags[upright_exif.X_RESOLUTION], tags[upright_exif.Y_RESOLUTION]
        unit = tags.get(upright_exif.RESOLUTION_UNIT, 2)
    except Exception:  # not there, or damaged
        return None
    return _sane(density, CENTIMETRES_PER_INCH if unit == 3 else 1.0) if unit in (2, 3) else None


def _sane(density: object, factor: float = 1.0) -> tuple[float, float] | None:
    """Two numbers that a container takes, rounded to hundredths: PNG counts per metre, where 300 is 299.9994."""
    try:
        x, y = (round(float(value) * factor, 2) for value in density)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return (x, y) if all(math.isfinite(value) and 0 < value <= MAX_DPI for value in (x, y)) else None
