"""Converts a decoded Pillow image of any mode to upright 8-bit RGB and alpha.

It works strip by strip and writes each strip where it belongs in the upright picture: so a large photo is in memory
only twice, as Pillow's image and as the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.errors import PictureError

from . import icc as profiles

Samples = NDArray[np.uint8]

TURNED = frozenset({5, 6, 7, 8})
"""EXIF orientations (EXIF 2.32, table 6) that exchange width and height."""

_STRIP = 1 << 20
"""Pixels of a strip, about."""

_LOW_BITS = {"L;2": 85, "L;4": 17}
"""Raw modes of PNG with fewer than 8 bits → the factor by which Pillow multiplies the samples."""


WIDE = "pictures with 32 bits a sample are not read: save it with 8 or 16 bits a channel first"


@dataclass(frozen=True)
class Pixels:
    """Upright pixels.

    Attributes:
        rgb: uint8 [H, W, 3].
        alpha: uint8 [H, W], or None if every pixel is opaque.
        icc: the profile of `rgb`; None for sRGB and for an unknown colour space.
        grey: the three channels are equal throughout, and there is no profile.
        notes: what is lost, one line each.
    """

    rgb: Samples
    alpha: Samples | None
    icc: bytes | None
    grey: bool
    notes: tuple[str, ...] = ()


def read_pixels(
    image: Image.Image, icc: bytes | None = None, orientation: int = 1, raw_mode: str = ""
) -> Pixels:
    """Returns the upright pixels of a decoded image.

    CMYK, grey and LAB go through their profile to sRGB; RGB keeps its profile.

    Args:
        image: the decoded image.
        icc: its profile.
        orientation: its EXIF orientation, 1 … 8.
        raw_mode: `loss_notes.raw_mode` from before it was decoded.

    Raises:
        PictureError: the samples have 32 bits or are floating point.
    """
    if raw_mode.startswith("I;32"):
        raise PictureError(WIDE)
    notes: list[str] = []
    image = _straight(image)
    convert, icc = _converter(image, icc, notes)
    alpha_of = _alpha_of(image, raw_mode)
    width, height = image.size
    upright = (height, width) if orientation not in TURNED else (width, height)
    rgb = np.empty((*upright, 3), np.uint8)
    alpha = None if alpha_of is None else np.empty(upright, np.uint8)
    as_stored, alpha_as_stored = stored_view(rgb, orientation), None
    if alpha is not None:
        alpha_as_stored = stored_view(alpha, orientation)
    for rows, strip in _strips(image):
        as_stored[rows] = convert(strip)
        if alpha_of is not None and alpha_as_stored is not None:
            alpha_as_stored[rows] = alpha_of(strip)
    if alpha is not None and int(alpha.min()) == 255:
        alpha = None
    return Pixels(rgb, alpha, icc, icc is None and is_grey(rgb), tuple(notes))


def is_grey(rgb: Samples) -> bool:
    """Returns whether the three channels are equal throughout."""
    rows = max(1, _STRIP // max(1, rgb.shape[1]))
    for top in range(0, rgb.shape[0], rows):
        strip = rgb[top : top + rows]
        if not (
            np.array_equal(strip[..., 0], strip[..., 1]) and np.array_equal(strip[..., 1], strip[..., 2])
        ):
            return False
    return True


def through(convert: profiles.Convert, rgb: Samples) -> Samples:
    """Converts `rgb`, strip by strip."""
    out = np.empty_like(rgb)
    rows = max(1, _STRIP // rgb.shape[1])
    for top in range(0, rgb.shape[0], rows):
        out[top : top + rows] = np.asarray(convert(Image.fromarray(rgb[top : top + rows])))
    return out


def rounded(samples: NDArray[np.integer]) -> Samples:
    """Rounds 16 bits to 8; full scale stays full scale."""
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def stored_view(upright: Samples, orientation: int) -> Samples:
    """Returns a view of `upright` in the orientation of the file: what is written into the view lands upright."""
    if orientation in TURNED:
        flipped = {5: upright, 6: upright[:, ::-1], 7: upright[::-1, ::-1], 8: upright[::-1]}[orientation]
        return flipped.swapaxes(0, 1)
    return {2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]}.get(orientation, upright)


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        yield slice(0, image.height), image
        return
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _straight(image: Image.Image) -> Image.Image:
    """The image with alpha that is not multiplied in, and 1 bit as 8."""
    straight = {"La": "LA", "RGBa": "RGBA", "1": "L", "HSV": "RGB", "YCbCr": "RGB"}.get(image.mode)
    return image if straight is None else image.convert(straight)


def _converter(
    image: Image.Image, icc: bytes | None, notes: list[str]
) -> tuple[Callable[[Image.Image], Samples], bytes | None]:
    """A function that converts a strip to `uint8 [h, w, 3]`, and the profile of its results."""
    if image.mode == "F":
        raise PictureError("pictures of 32-bit float (mode F) are not read: save it with 8 or 16 bits first")
    convert = None
    colours = "L" if image.mode in {"L", "LA"} or image.mode.startswith("I") else image.mode
    if colours == "LAB":
        convert, icc = profiles.lab_to_srgb(), None
    elif colours in {"L", "CMYK"}:
        if icc is not None:
            convert = profiles.to_srgb(icc, colours)
            if convert is None:
                notes.append(_passed_over(icc, "grey" if colours == "L" else "CMYK"))
        if colours == "CMYK" and convert is None:
            notes.append("CMYK without a usable profile: its colours are only approximate")
        icc = None
    elif icc is not None and profiles.to_srgb(icc, "RGB") is None:
        notes.append(_passed_over(icc, "RGB"))
        icc = None

    def samples(strip: Image.Image) -> Samples:
        if strip.mode.startswith("I"):
            strip = Image.fromarray(_from_16_bits(np.asarray(strip)))
        elif strip.mode == "LA":
            strip = strip.getchannel("L")
        if convert is not None:
            strip = convert(strip)
        elif strip.mode in {"P", "PA"} and strip.has_transparency_data:
            strip = strip.convert("RGBA")  # to RGB, Pillow would look for a free entry of the palette
        return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))

    return samples, icc


def _passed_over(icc: bytes, colours: str) -> str:
    space = profiles.space(icc)
    if space is None or profiles.SPACE_OF_MODE.get(colours.replace("grey", "L")) == space:
        return "its ICC profile is damaged and is passed over"
    named = ascii(space.decode("latin-1").strip())
    return f"its ICC profile is for {named} and the picture is {colours}: it is passed over"


def _alpha_of(image: Image.Image, raw_mode: str) -> Callable[[Image.Image], Samples] | None:
    """A function that returns the alpha `uint8 [h, w]` of a strip; None if nothing can be transparent."""
    clear = _one_clear_value(image, raw_mode)
    if clear is not None:
        return lambda strip: np.where(_equals(np.asarray(strip), clear), np.uint8(0), np.uint8(255))
    if not image.has_transparency_data or image.mode.startswith("I"):
        return None
    if image.mode in {"LA", "RGBA", "PA"} and "transparency" not in image.info:
        return lambda strip: np.asarray(strip.getchannel("A"))
    return lambda strip: np.asarray(strip.convert("RGBA").getchannel("A"))


def _one_clear_value(image: Image.Image, raw_mode: str) -> int | tuple[int, ...] | None:
    """The one transparent grey or colour (PNG, tRNS), scaled as Pillow scales the samples.

    Pillow scales 2 and 4 bits to 8 and cuts 16-bit colour to 8, but does not change the transparent value.
    """
    clear = image.info.get("transparency")
    if isinstance(clear, int) and (image.mode == "L" or image.mode.startswith("I")):
        return clear * _LOW_BITS.get(raw_mode, 1)
    if isinstance(clear, tuple) and image.mode == "RGB":
        return tuple(value >> 8 for value in clear) if raw_mode.startswith("RGB;16") else clear
    return None


def _equals(samples: NDArray[np.generic], clear: int | tuple[int, ...]) -> NDArray[np.bool_]:
    same = samples == np.asarray(clear)
    return np.asarray(same.all(axis=2) if same.ndim == 3 else same)


def _from_16_bits(samples: NDArray[np.generic]) -> Samples:
    values = samples.astype(np.int64)
    if int(values.min()) < 0 or int(values.max()) > 65535:
        raise PictureError(WIDE)
    return rounded(values)
