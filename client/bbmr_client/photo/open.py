"""Opens a picture file as a Pillow image: finds the format by the first bytes, and checks the size before decoding.

`Image.open` is not used: it warns on standard error about pictures that are within our limits, and two formats allocate
or decode the picture while they are opened.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from importlib import import_module

from PIL import Image, ImageFile

from bbmr_shared.container.frame import SIGNATURE
from bbmr_shared.errors import LimitExceededError, PictureError, one_line
from bbmr_shared.images.webp import webp_size
from bbmr_shared.limits import Limits

from .jxl import CODESTREAM, jxl_size
from .strip_metadata import strip_metadata

Opener = Callable[[io.BytesIO, str], ImageFile.ImageFile]

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "QOI", "PCX", "TGA")
"""The formats that are opened; Pillow also has formats that start other programs (EPS) or hold no pixels."""

OPTIONAL = {
    "HEIF": ("pillow_heif", "HeifImageFile"),
    "JXL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}
"""Format → module and class of its plugin; the extra `formats` installs both."""

LEFT_OUT = "bbmr: metadata left out"
"""Key in `info` of an image that could only be opened without its metadata."""

HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs heif mif1 msf1 mif2".split())
JXL_STARTS = (CODESTREAM, b"\0\0\0\x0cJXL \r\n\x87\n")

OTHERS = (
    (SIGNATURE, "is a bbmr container already"),
    (b"%PDF", "is a PDF document: save the page as PNG first"),
    (b"8BPS", "is a Photoshop file (PSD): save it as PNG or TIFF first"),
    (b"%!PS", "is PostScript: save it as PNG first"),
    (b"FUJIFILMCCD-RAW", "is a camera raw file: develop it to JPEG or TIFF first"),
    (
        b"\x76\x2f\x31\x01",
        "is OpenEXR with floating-point samples: save it with 8 or 16 bits a channel first",
    ),
    (b"#?RADIANCE", "is Radiance HDR with floating-point samples: save it with 8 or 16 bits a channel first"),
    (b"\0\0\1\0", "is an icon file (ICO): save it as PNG first"),
    (b"PK\3\4", "is a ZIP archive: unpack it first"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
)
"""First bytes of other files → the end of the error message."""

_SUBFILE, _TILE_WIDTH, _TILE_HEIGHT, _DNG_VERSION = 0x00FE, 0x0142, 0x0143, 0xC612


def open_picture(data: bytes, limits: Limits, name: str) -> ImageFile.ImageFile:
    """Returns the picture in `data`, opened and not decoded. `name` is used only in messages.

    Raises:
        PictureError: `data` are no picture, have a damaged header, or a format that is not read.
        LimitExceededError: the header declares more than `limits` allow.
    """
    first_problem: str | None = None
    for format in FORMATS[:-1]:
        if _accepts(format, data[:16]):
            try:
                return _spared(_opener(format), data, limits, name, format)
            except _UnreadableError as error:
                first_problem = first_problem or f"{name} is a damaged {_shown(format)} file: {error}"
    plugin = _plugin_format(data)
    if plugin is not None:
        try:
            return _checked(_plugin(plugin, name), data, limits, name, plugin)
        except _UnreadableError as error:
            raise PictureError(f"{name} is a damaged {_shown(plugin)} file: {error}") from error
    if first_problem is not None:
        raise PictureError(first_problem)
    _refuse_what_is_known(data, name)
    try:
        return _checked(
            _opener(FORMATS[-1]), data, limits, name, FORMATS[-1]
        )  # has no first bytes to know it by
    except _UnreadableError as error:
        raise PictureError(
            f"{name} is not a picture that can be read (JPEG, PNG, WebP, AVIF, TIFF, …)"
        ) from error


class _UnreadableError(Exception):
    """A decoder refused the file; the message is one line."""


def _spared(opener: Opener, data: bytes, limits: Limits, name: str, format: str) -> ImageFile.ImageFile:
    """As `_checked`; if that fails because of the metadata, the file is opened without them."""
    try:
        return _checked(opener, data, limits, name, format)
    except _UnreadableError:
        spared = strip_metadata(data, format)
        if len(spared) == len(data):
            raise
        image = _checked(opener, spared, limits, name, format)
        image.info[LEFT_OUT] = True
        return image


def _checked(opener: Opener, data: bytes, limits: Limits, name: str, format: str) -> ImageFile.ImageFile:
    size = {"WEBP": webp_size, "JXL": jxl_size}.get(format, _unknown)(data)
    try:
        if size is not None:
            limits.check_dimensions(*size)
        elif format == "JXL":  # whose plugin decodes on opening
            raise ValueError("its size cannot be read")
        image = opener(io.BytesIO(data), "")
        limits.check_dimensions(*image.size)
        if format == "TIFF":
            _check_tiff(image, limits)
    except LimitExceededError as error:
        raise LimitExceededError(f"{name}: {error}") from None
    except PictureError as error:
        raise PictureError(f"{name} {error}") from None
    except MemoryError:
        raise LimitExceededError(f"{name}: there is not enough memory to open it") from None
    except Exception as error:  # decoders can raise anything, such as struct.error
        raise _UnreadableError(_reason(error)) from error
    return image


def _unknown(data: bytes) -> tuple[int, int] | None:
    return None


def _accepts(format: str, start: bytes) -> bool:
    if format not in Image.OPEN:
        Image.init()
    accept = Image.OPEN[format][1] if format in Image.OPEN else None
    return accept is not None and accept(start) is True


def _opener(format: str) -> Opener:
    return Image.OPEN[format][0]


def _plugin_format(data: bytes) -> str | None:
    if data.startswith(JXL_STARTS):
        return "JXL"
    return "HEIF" if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS else None


def _plugin(format: str, name: str) -> Opener:
    module, attribute = OPTIONAL[format]
    try:
        opener: Opener = getattr(import_module(module), attribute)
    except ImportError:
        raise PictureError(f"{name} is {_shown(format)}: pip install '.[formats]' in a checkout") from None
    return opener


def _check_tiff(image: ImageFile.ImageFile, limits: Limits) -> None:
    """Refuse raw files, whose first picture is a thumbnail, and tiles that are larger than any picture."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or _number(tags.get(_SUBFILE, 0)) & 1:
        raise PictureError(
            "starts with a thumbnail, as camera raw files do: develop it to JPEG or TIFF first"
        )
    width, height = _number(tags.get(_TILE_WIDTH, 1)), _number(tags.get(_TILE_HEIGHT, 1))
    if width * height > limits.max_pixels:
        raise LimitExceededError(
            f"its tiles have {width}×{height} pixels; at most {limits.max_pixels} are allowed"
        )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _refuse_what_is_known(data: bytes, name: str) -> None:
    for start, words in OTHERS:
        if data.startswith(start):
            raise PictureError(f"{name} {words}")
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        raise PictureError(f"{name} is SVG, a drawing: save it as PNG first")
    if head.startswith((b"<!doctype html", b"<html")):
        raise PictureError(f"{name} is a web page, not a picture")
    if data[4:8] == b"ftyp":
        kind = "a camera raw file (CR3)" if data[8:12] == b"crx " else "a video"
        raise PictureError(f"{name} is {kind}, not a picture that can be read")


def _shown(format: str) -> str:
    return {"WEBP": "WebP", "JPEG2000": "JPEG 2000", "JXL": "JPEG XL"}.get(format, format)


def _reason(error: BaseException) -> str:
    """The message of a decoder, if a user can understand it."""
    if isinstance(error, SyntaxError) and error.args and isinstance(error.args[0], Exception):
        error = error.args[0]  # Pillow wraps what its own parsing stumbled over
    if isinstance(error, struct.error | IndexError | KeyError | TypeError | AssertionError | AttributeError):
        return "its header is broken"
    return one_line(error).split(" Please build")[0].rstrip(".") or "its header is broken"
