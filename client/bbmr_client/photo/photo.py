"""Reads a photo: a picture file, Pillow image or array becomes one upright 8-bit RGB array, alpha and metadata.

Sizes are checked from the header before anything is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.files import STDIO, read_file
from bbmr_shared.arguments import check_type
from bbmr_shared.errors import BbmrError, LimitExceededError, PictureError, UsageError, one_line
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

from . import icc as profiles
from .loss_notes import raw_mode, what_is_lost
from .metadata import check_metadata, read_metadata, read_orientation, small
from .open import open_picture
from .pixels import is_grey, read_pixels, rounded, through
from .png_integrity import check_whole
from .source import SourceFile, source_file

PhotoInput: TypeAlias = "Photo | Image.Image | NDArray[np.generic] | bytes | str | Path"


@dataclass(frozen=True)
class Photo:
    """An upright picture, ready to be encoded.

    Attributes:
        rgb: uint8 [H, W, 3].
        alpha: uint8 [H, W], or None if every pixel is opaque.
        icc: a profile, which always describes RGB.
        exif: the TIFF block without the "Exif" marker, with orientation 1.
        xmp: the XMP packet.
        dpi: pixels per inch across and down.
        grey: the three channels are equal throughout.
        notes: what of the source is not kept, one line each.
        source: the file that it was read from.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    grey: bool = False
    notes: tuple[str, ...] = ()
    source: SourceFile | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    def keeping(self, metadata: str) -> Photo:
        """Returns the photo with "all" of its metadata, only the "icc" profile, or "none" and its colours in sRGB.

        Raises:
            UsageError: `metadata` is another word.
        """
        check_metadata(metadata)
        if metadata == "all":
            return self
        bare = replace(self, exif=None, xmp=None, dpi=None)
        return bare if metadata == "icc" else _in_srgb(bare)


def load_photo(source: PhotoInput, limits: Limits = DEFAULT_LIMITS, name: str | None = None) -> Photo:
    """Returns the photo in a file, in the bytes of one, in a Pillow image or in an array.

    Palette, 1-bit, grey, CMYK, LAB and 16-bit pictures become 8-bit RGB; CMYK and grey with an ICC profile go through
    it to sRGB. Of several pictures the first is taken. The EXIF orientation is applied once and its tag set to 1.
    `Photo.notes` says what was lost. A `Photo` comes back as it is, if it is within `limits`.

    Args:
        source: a path, bytes, a Pillow image, an array `[H, W]`, `[H, W, 3]` or `[H, W, 4]`, or a photo.
        limits: what the photo may cost.
        name: what messages call a source that has no name.

    Raises:
        UsageError: the source is "-", which only the command line takes for standard input.
        PictureError: the source is a folder, unreadable, empty, truncated, or no picture.
        LimitExceededError: it has more bytes or pixels than `limits` allow.
    """
    check_type("limits", limits, Limits)
    if isinstance(source, Photo):
        return _within(source, limits)
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image(source, limits, name or "the picture", None)
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the picture"
    elif not isinstance(source, str | Path):
        raise PictureError(
            f"a photo is a file's name or bytes, an image or an array, not {type(source).__name__}"
        )
    else:
        if source == STDIO:
            raise UsageError(
                "only the command line reads standard input for '-': pass the bytes, sys.stdin.buffer.read()"
            )
        name = name or str(source)
        data = read_file(source, limit=limits.max_photo_bytes, error=PictureError)
    if not data:
        raise PictureError(f"{name} is empty: 0 bytes")
    if len(data) > limits.max_photo_bytes:
        raise LimitExceededError(
            f"{name} has {len(data)} bytes; at most {limits.max_photo_bytes} are accepted"
        )
    with open_picture(data, limits, name) as image:
        return _from_image(image, limits, name, data)


def _from_image(image: Image.Image, limits: Limits, name: str, data: bytes | None) -> Photo:
    try:
        limits.check_dimensions(*image.size)
        if data is not None:
            check_whole(data, image)
        return _decode(image, limits, data)
    except BbmrError as error:
        raise type(error)(f"{name}: {error}") from error
    except MemoryError:
        raise LimitExceededError(f"{name}: not enough memory for {image.width}×{image.height} px") from None
    except Exception as error:
        raise PictureError(f"{name} is damaged or cut short: {_reason(error)}") from error


def _decode(image: Image.Image, limits: Limits, data: bytes | None) -> Photo:
    """The photo in an opened image; `data` is its file, if it has one. Decoders raise anything for damaged files."""
    lost = what_is_lost(image, data)
    raw, is_tiff = raw_mode(image), image.format == "TIFF"
    turned_by_decoder = read_orientation(image) if is_tiff else 1
    image.load()
    orientation = 1 if is_tiff else read_orientation(image)
    pixels = read_pixels(image, image.info.get("icc_profile") or None, orientation, raw)
    height, width = pixels.rgb.shape[:2]
    turn = max(turned_by_decoder, orientation)
    rest = read_metadata(image, turn, (width, height), limits)
    notes = (*lost, *pixels.notes, *rest.notes)
    photo = Photo(pixels.rgb, pixels.alpha, pixels.icc, rest.exif, rest.xmp, rest.dpi, pixels.grey, notes)
    photo = _with_small_profile(photo, limits)
    if data is None:
        return photo
    has_alpha, keeps_profile = photo.alpha is not None, photo.icc is not None
    source = source_file(image, data, turned=turn != 1, has_alpha=has_alpha, keeps_profile=keeps_profile)
    return replace(photo, source=source)


def _within(photo: Photo, limits: Limits) -> Photo:
    """A photo, which may have been read with wider limits, as it would have been read with these."""
    limits.check_dimensions(photo.width, photo.height)
    if photo.source is not None:
        limits.check_bytes("the photo's file", len(photo.source.data), limits.max_photo_bytes)
    notes: list[str] = []
    exif = small("EXIF block", photo.exif, limits.max_exif_bytes, notes)
    xmp = small("XMP packet", photo.xmp, limits.max_xmp_bytes, notes)
    if notes:
        photo = replace(photo, exif=exif, xmp=xmp, notes=(*photo.notes, *notes))
    return _with_small_profile(photo, limits)


def _with_small_profile(photo: Photo, limits: Limits) -> Photo:
    """The photo with its profile applied and dropped, if that is larger than a container may carry."""
    if photo.icc is None or len(photo.icc) <= limits.max_icc_bytes:
        return photo
    note = (
        f"its ICC profile has {len(photo.icc)} bytes, at most {limits.max_icc_bytes} are kept: it is applied"
    )
    source = None if photo.source is None else replace(photo.source, obstacle="its profile is not kept")
    return replace(_in_srgb(photo), source=source, notes=(*photo.notes, note))


def _in_srgb(photo: Photo) -> Photo:
    """The photo in sRGB, without its profile."""
    convert = None if photo.icc is None else profiles.to_srgb(photo.icc, "RGB")
    if convert is None:
        return replace(photo, icc=None)
    rgb = through(convert, photo.rgb)
    return replace(photo, rgb=rgb, icc=None, grey=is_grey(rgb))


def _from_array(array: NDArray[np.generic], limits: Limits) -> Photo:
    shape = array.shape
    if array.ndim not in {2, 3} or (array.ndim == 3 and shape[2] not in {1, 3, 4}) or 0 in shape:
        raise PictureError(f"an array has the shape [H, W], [H, W, 3] or [H, W, 4], not {list(shape)}")
    limits.check_dimensions(shape[1], shape[0])
    notes: tuple[str, ...] = ()
    if array.dtype == np.bool_:
        samples = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.newbyteorder("=") == np.uint16:
        samples, notes = rounded(array.astype(np.uint16)), ("16 bits a sample are reduced to 8",)
    elif array.dtype == np.uint8:
        samples = array.astype(np.uint8)
    else:
        raise PictureError(f"an array holds uint8, uint16 or bool, not {array.dtype}")
    if samples.ndim == 2:
        samples = samples[..., None]
    alpha = samples[..., 3].copy() if samples.shape[2] == 4 and samples[..., 3].min() < 255 else None
    rgb = np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else np.ascontiguousarray(samples[..., :3])
    return Photo(rgb, alpha, grey=is_grey(rgb), notes=notes)


def _reason(error: BaseException) -> str:
    return "its header is broken" if isinstance(error, struct.error) else one_line(error)
