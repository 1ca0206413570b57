"""Reading a photo: any picture Pillow opens → one upright 8-bit RGB array, an optional alpha, and its metadata.

In: a path, the bytes of a picture file, a Pillow image or an array. Out: a `Photo`. Sizes are checked from the
header before anything is decoded, and every failure is a `PictureError` or a `LimitExceededError`.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bbmr_client import exif as exif_block
from bbmr_client.files import STDIO, read_file
from bbmr_shared.errors import BbmrError, LimitExceededError, PictureError
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "TGA", "QOI", "PCX")
"""What is opened. A list, because Pillow also knows formats that start other programs (EPS) or fetch no pixels."""

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → the turn that sets the picture upright (EXIF 2.32, table 6)."""

Source: TypeAlias = "Photo | Image.Image | NDArray[np.generic] | bytes | str | Path"


@dataclass(frozen=True)
class Photo:
    """An upright picture, ready to be encoded.

    rgb: uint8 [H, W, 3]; alpha: uint8 [H, W], or None where every pixel is opaque. `exif` is the TIFF block without
    the "Exif" marker, with orientation 1; `icc` always describes RGB.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])


def load_photo(source: Source, limits: Limits = DEFAULT_LIMITS, name: str | None = None) -> Photo:
    """Read a photo; `name` is what messages call a source that has none.

    Palette, 1-bit, grey, CMYK and 16-bit pictures become 8-bit RGB; CMYK and grey with an ICC profile go through it
    to sRGB. Of an animation the first picture is taken. The EXIF orientation is applied once and its tag set to 1.

    Raises:
        PictureError: a folder, unreadable, empty, truncated, or no picture.
        LimitExceededError: more bytes, pixels or metadata than `limits` allow.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image(source, limits, name or "the picture")
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the picture"
    else:
        name = name or ("standard input" if source == STDIO else str(source))
        data = read_file(source, limit=limits.max_photo_bytes, error=PictureError)
    if not data:
        raise PictureError(f"{name} is empty: 0 bytes")
    with _open(data, limits, name) as image:
        return _from_image(image, limits, name)


def _open(data: bytes, limits: Limits, name: str) -> Image.Image:
    if len(data) > limits.max_photo_bytes:
        raise LimitExceededError(
            f"{name} has {len(data)} bytes; at most {limits.max_photo_bytes} are accepted"
        )
    try:
        return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if _registered(name)])
    except Image.DecompressionBombError:
        raise LimitExceededError(_too_many_pixels(name, limits)) from None
    except Exception as error:  # decoders raise what they like, down to struct.error
        raise PictureError(
            f"{name} is not a picture that can be read (JPEG, PNG, WebP, AVIF, TIFF, …)"
        ) from error


def _registered(format: str) -> bool:
    if format not in Image.OPEN:
        Image.init()
    return format in Image.OPEN


def _too_many_pixels(name: str, limits: Limits) -> str:
    return f"{name} says it has more pixels than the {limits.max_pixels} that are accepted: scale it down or cut it"


def _from_image(image: Image.Image, limits: Limits, name: str) -> Photo:
    try:
        limits.check_dimensions(*image.size)
        _narrow_transparency(image)
        image.load()
        orientation = image.getexif().get(
            exif_block.ORIENTATION, 1
        )  # after load(): TIFF is turned by its decoder
        rgb, alpha, icc = _pixels(image)
        turn = ORIENTATIONS.get(orientation)
        if turn is not None:
            rgb, alpha = _turned(rgb, turn), None if alpha is None else _turned(alpha, turn)
        exif = exif_block.upright(_exif_bytes(image), turned=turn is not None)
        xmp = _upright_xmp(image)
    except BbmrError as error:
        raise type(error)(f"{name}: {error}") from error
    except Image.DecompressionBombError:
        raise LimitExceededError(_too_many_pixels(name, limits)) from None
    except MemoryError:
        raise LimitExceededError(f"{name}: not enough memory for {image.width}×{image.height} px") from None
    except Exception as error:
        raise PictureError(f"{name} is damaged or cut short: {_one_line(error)}") from error
    photo = Photo(rgb, alpha, icc, exif, xmp)
    _check_metadata(photo, limits, name)
    return photo


def _pixels(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, bytes | None]:
    """(rgb, alpha, icc) of a decoded image, not yet turned."""
    icc = image.info.get("icc_profile") or None
    clear = None  # where 16-bit grey is the one transparent grey: it is so before it is rounded
    if image.mode.startswith("I"):
        if isinstance(image.info.get("transparency"), int):
            clear = np.asarray(image) == image.info["transparency"]
        image, icc = _from_16_bit(image), None if _icc_space(icc) != b"GRAY" else icc
    if image.mode in {"F", "LAB"}:
        raise PictureError(
            f"pictures of mode {image.mode} are not read: save it with 8 or 16 bits a channel first"
        )
    if image.mode == "1":
        image = image.convert("L")
    premultiplied = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    if premultiplied is not None:
        image = image.convert(premultiplied)
    alpha = None
    if clear is not None and clear.any():
        alpha = np.where(clear, 0, 255).astype(np.uint8)
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        alpha = np.array(whole.getchannel("A"))
        if alpha.min() == 255:
            alpha = None
        if image.mode == "LA":
            image = image.getchannel("L")
        elif image.mode not in {"L", "RGB"}:  # those two hold their colours beside one transparent one
            image = whole.convert("RGB")
    if icc is not None and _icc_space(icc) != b"RGB ":
        image, icc = _to_srgb(image, icc), None
    return np.array(image.convert("RGB")), alpha, icc


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey with 16 bits → 8, rounded; full scale stays full scale."""
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise PictureError(
            "pictures with 32 bits a sample are not read: save it with 8 or 16 bits a channel first"
        )
    return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))


def _narrow_transparency(image: Image.Image) -> None:
    """Pillow reads 16-bit RGB as its high bytes, but the one transparent colour (PNG, tRNS) as it is: cut it alike."""
    clear = image.info.get("transparency")
    sixteen_bit = any("RGB;16" in str(tile) for tile in getattr(image, "tile", []))
    if sixteen_bit and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _icc_space(icc: bytes | None) -> bytes | None:
    """The colour space a profile describes (ICC.1:2022, 7.2.8): "RGB ", "GRAY", "CMYK"."""
    return icc[16:20] if icc and len(icc) >= 128 else None


def _to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """CMYK or grey through its profile to sRGB; a profile that cannot be used is passed over."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted if converted is not None else image


def _turned(samples: NDArray[np.uint8], turn: Image.Transpose) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(samples).transpose(turn))


def _exif_bytes(image: Image.Image) -> bytes | None:
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return raw
    tags = image.getexif()
    for structural in exif_block.TIFF_LAYOUT_TAGS & set(tags):
        del tags[structural]
    return tags.tobytes() if len(tags) else None


def _upright_xmp(image: Image.Image) -> bytes | None:
    raw = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(raw, tuple):
        raw = raw[0]
    if isinstance(raw, str):
        raw = raw.encode()
    if not isinstance(raw, bytes) or not raw:
        return None
    return re.sub(rb'(tiff:Orientation(?:\s*=\s*["\']|>))\s*[2-8]', rb"\g<1>1", raw)


def _from_array(array: NDArray[np.generic], limits: Limits) -> Photo:
    shape = array.shape
    if array.ndim not in {2, 3} or (array.ndim == 3 and shape[2] not in {1, 3, 4}) or 0 in shape:
        raise PictureError(f"an array has the shape [H, W], [H, W, 3] or [H, W, 4], not {list(shape)}")
    limits.check_dimensions(shape[1], shape[0])
    if array.dtype == np.bool_:
        samples = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16:
        samples = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    elif array.dtype == np.uint8:
        samples = array.astype(np.uint8)
    else:
        raise PictureError(f"an array holds uint8, uint16 or bool, not {array.dtype}")
    if samples.ndim == 2:
        samples = samples[..., None]
    alpha = samples[..., 3].copy() if samples.shape[2] == 4 and samples[..., 3].min() < 255 else None
    rgb = np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else samples[..., :3]
    return Photo(np.ascontiguousarray(rgb), alpha)


def _check_metadata(photo: Photo, limits: Limits, name: str) -> None:
    for what, block, most in (
        ("ICC profile", photo.icc, limits.max_icc_bytes),
        ("EXIF block", photo.exif, limits.max_exif_bytes),
        ("XMP packet", photo.xmp, limits.max_xmp_bytes),
    ):
        if block is not None and len(block) > most:
            raise LimitExceededError(
                f"{name}: its {what} has {len(block)} bytes, at most {most} are kept: remove it first"
            )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if not isinstance(error, struct.error) else "its header is broken"
