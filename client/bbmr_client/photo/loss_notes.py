"""Notes on what is lost when a picture file is read: bits, further pictures, gain maps."""

from __future__ import annotations

import re

from PIL import Image

from .open import LEFT_OUT

_GAIN_MAPS = (b"hdrgm:", b"urn:iso:std:iso:ts:21496", b":hdrgainmap", b"HDRGainMap")
_HEAD = 1 << 18
"""Bytes at the start of a file that are searched for a gain map and the depth."""

_MIDDLE_GAMMA = 0.45455
_PIXI = re.compile(rb"pixi\0\0\0\0[\1-\4]([\1-\x20])", re.DOTALL)
"""Bits a sample of an AVIF (ISO/IEC 23008-12, 6.5.6)."""


def what_is_lost(image: Image.Image, data: bytes | None) -> tuple[str, ...]:
    """Returns one-line notes on what is not kept of an image that was opened and not yet decoded.

    `data` is its file; without a file only its depth is noted.
    """
    if data is None:
        depth = _depth(image, b"")
        return (depth,) if depth else ()
    notes = [
        _metadata(image),
        _depth(image, data),
        _further_pictures(image),
        _gain_map(image, data[:_HEAD]),
        _gamma(image),
    ]
    return tuple(note for note in notes if note)


def raw_mode(image: Image.Image) -> str:
    """Returns Pillow's name for how the file stores its samples ("RGB;16B"); empty once it is decoded."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _metadata(image: Image.Image) -> str | None:
    return "its metadata are damaged and are left out" if LEFT_OUT in image.info else None


def _depth(image: Image.Image, data: bytes) -> str | None:
    bits = 8
    if ";16" in raw_mode(image) or image.mode.startswith("I"):
        bits = 16
    elif image.format == "HEIF":
        bits = image.info.get("bit_depth", 8)
    elif image.format == "AVIF":
        found = _PIXI.search(data, 0, _HEAD)
        bits = found.group(1)[0] if found else 8
    if bits <= 8:
        return None
    how = "" if image.mode.startswith("I") or bits < 16 else ", the high ones, as Pillow reads them"
    return f"{bits} bits a sample are reduced to 8{how}"


def _further_pictures(image: Image.Image) -> str | None:
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # only what follows the first picture is damaged
        return "what follows its first picture is damaged and is left out"
    if (
        count < 2 or image.format == "MPO"
    ):  # the further pictures of an MPO are views or gain maps of the first
        return None
    if image.format in {"TIFF", "HEIF"}:
        return (
            f"it has {count} pictures: only the {'first' if image.format == 'TIFF' else 'main one'} is kept"
        )
    return f"animated: only the first of {count} pictures is kept"


def _gain_map(image: Image.Image, head: bytes) -> str | None:
    if image.format in {"MPO", "JPEG", "HEIF", "AVIF"} and any(mark in head for mark in _GAIN_MAPS):
        return "its HDR gain map is left out: the picture is kept as standard screens show it"
    return None


def _gamma(image: Image.Image) -> str | None:
    info = image.info
    gamma = info.get("gamma")
    if image.format != "PNG" or gamma is None or "icc_profile" in info or "srgb" in info:
        return None
    return None if abs(gamma - _MIDDLE_GAMMA) < 0.01 else f"its gamma of 1/{1 / gamma:.3g} is not applied"
