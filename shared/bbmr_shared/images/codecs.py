"""The table of plane codecs: picture formats through Pillow, each opened only as the format that it is declared to be.

Samples are `uint8 [h, w, 3]` (planes) or `uint8 [h, w]` (alpha). Pillow's global settings are not used, so that all of
this may run in threads. Lossless formats decode to the same samples everywhere; AVIF may differ by 1/255 between builds
of its decoder.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from bbmr_shared.arguments import is_whole
from bbmr_shared.errors import (
    InvalidArgumentError,
    LimitExceededError,
    PlaneError,
    UnsupportedContainerError,
    UsageError,
    one_line,
)
from bbmr_shared.limits import AVIF_MAX_SIDE, JPEG_MAX_SIDE, PNG_MAX_SIDE, WEBP_MAX_SIDE

from .av1_plane import open_av1, probe_av1, unboxed
from .avif import probe_avif
from .info import ImageInfo, Size
from .jpeg import bare_jpeg, probe_jpeg
from .names import KNOWN_BUT_ABSENT, LOSSLESS_CODECS, LOSSY_CODECS
from .png import bare_png, check_png_stream, probe_png
from .webp import probe_webp

Samples = NDArray[np.uint8]
Coded = tuple[str, bytes]
"""A coded plane: the name of its codec, and the bytes."""
FALLBACK = "png"
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "4:0:0")
TUNES = ("iq", "psnr", "ssim")
AV1_TOOLS = {"sb-size": "64", "enable-cdef": "1"}
"""With these and without tiles libaom needs fewer bytes at equal error: 1.7 to 3.1 % with "psnr", 0.5 to 2.3 % with
"iq" (four photos of 0.3 to 2 MP, speed 6)."""


@dataclass(frozen=True)
class CodecOptions:
    """Options of an encoder.

    `effort` 0 (fast) .. 9 (small) is for the lossless codecs. For the lossy ones are `quality` 0..100, chroma
    `subsampling`, `speed` 0 (slow) .. 10, and `tune`: what libaom aims at. "iq" is for the eye and AVIF's own default,
    "psnr" is for the squared error. Grey samples are 4:0:0 always; 4:0:0 of coloured ones keeps their luma.

    Raises:
        UsageError: an option is out of its range, or no whole number.
    """

    quality: int | None = None
    subsampling: str = "4:4:4"
    speed: int = 8
    effort: int = 4
    tune: str = "iq"

    def __post_init__(self) -> None:
        if self.quality is not None and not (is_whole(self.quality) and 0 <= self.quality <= 100):
            raise UsageError(f"quality is 0..100, not {self.quality}")
        if self.subsampling not in SUBSAMPLINGS:
            raise UsageError(f"subsampling is one of {', '.join(SUBSAMPLINGS)}, not {self.subsampling}")
        if self.tune not in TUNES:
            raise UsageError(f"tune is one of {', '.join(TUNES)}, not {self.tune}")
        if not (is_whole(self.speed) and 0 <= self.speed <= 10):
            raise UsageError(f"speed is 0..10, not {self.speed}")
        if not (is_whole(self.effort) and 0 <= self.effort <= 9):
            raise UsageError(f"effort is 0..9, not {self.effort}")


@dataclass(frozen=True)
class PlaneCodec:
    """One row of the table. `lossless` describes this encoder; `max_side` is in samples; a codec without `write` is
    only read, in originals.
    """

    name: str
    pillow_format: str
    lossless: bool
    max_side: int
    write: Callable[[Image.Image, CodecOptions], Coded] | None
    probe: Callable[[bytes], ImageInfo]
    open: Callable[[io.BytesIO], ImageFile.ImageFile]
    bare: Callable[[bytes], bytes] = bytes
    """Removes what decoding does not need, if reading it could cost more than the picture."""


def get_codec(name: str) -> PlaneCodec:
    """Returns the codec of that name.

    Raises:
        UnsupportedContainerError: the name is unknown, or its codec is not built in.
    """
    codec = CODECS.get(name)
    if codec is None:
        why = "is not built into" if name in KNOWN_BUT_ABSENT else "is not known to"
        raise UnsupportedContainerError(f"the plane codec {name[:64]!r} {why} this release")
    return codec


def encode_plane(
    samples: Samples,
    codec: str = "webp",
    *,
    quality: int | None = None,
    subsampling: str = "4:4:4",
    speed: int = 8,
    effort: int = 4,
    tune: str = "iq",
) -> Coded:
    """Encodes `uint8 [h, w, 3]` or `uint8 [h, w]` samples; returns the name of the codec that was used, and the bytes.

    The same samples and options give the same bytes with any number of cores; options are those of `CodecOptions`.
    A picture with a side over the codec's limit is written as PNG instead, and AV1 data that its boxes do not repeat as
    AVIF. The lossy codecs (avif, av1) need `quality`; the lossless ones refuse it.

    Raises:
        UsageError: the codec is unknown, or an option does not fit it.
    """
    row = CODECS.get(codec)
    if row is None or row.write is None:
        raise UsageError(f"the codec is one of {', '.join(LOSSLESS_CODECS + LOSSY_CODECS)}, not {codec}")
    if row.lossless and quality is not None:
        raise UsageError(f"{codec} planes are lossless and take no quality")
    if not row.lossless and quality is None:
        raise UsageError(f"{codec} planes need a quality")
    options = CodecOptions(quality, subsampling, speed, effort, tune)
    if max(samples.shape[:2]) > row.max_side:
        row = CODECS[FALLBACK]
    assert row.write is not None, "the fallback is written, too"
    image = Image.fromarray(np.ascontiguousarray(samples, dtype=np.uint8))
    return row.write(image, options)


def probe(data: bytes, codec: str) -> ImageInfo:
    """Returns size, mode and frames from the headers of a coded plane; nothing is decoded.

    Raises:
        PlaneError: it is no whole file of that format.
        UnsupportedContainerError: the codec is unknown.
    """
    return get_codec(codec).probe(data)


def check_plane(data: bytes, codec: str, size: Size) -> ImageInfo:
    """Raise `PlaneError` unless the headers in `data` declare one RGB or grey picture of `size` (width, height)."""
    if max(size) > get_codec(codec).max_side:
        raise PlaneError(
            f"the {codec} plane of {size[0]}×{size[1]} is declared; {codec} has at most "
            f"{get_codec(codec).max_side} samples a side"
        )
    info = probe(data, codec)
    if info.size != size:
        raise PlaneError(
            f"the {codec} plane is {info.width}×{info.height} where {size[0]}×{size[1]} is declared"
        )
    if info.frames != 1:
        raise PlaneError(f"the {codec} plane is animated")
    if info.mode not in ("RGB", "L"):
        raise PlaneError(f"the {codec} plane has the mode {info.mode}; RGB or grey is needed")
    return info


def decode(data: bytes, codec: str, size: Size) -> Samples:
    """Decodes a plane of `size` (width, height) to `uint8 [height, width, 3]`; grey is repeated in three channels.

    Raises:
        PlaneError: it is another picture, or does not decode to its end.
        LimitExceededError: Pillow refuses it as too large.
    """
    return np.array(_load(data, codec, size).convert("RGB"), dtype=np.uint8)


def decode_grey(data: bytes, codec: str, size: Size) -> Samples:
    """Decodes an alpha channel of `size` (width, height) to `uint8 [height, width]`: grey, or the green of RGB.

    Raises: as `decode`.
    """
    image = _load(data, codec, size)
    return np.array(image if image.mode == "L" else image.getchannel("G"), dtype=np.uint8)


def coding_error_byte(mse: float) -> int:
    """Returns a mean squared error (8-bit samples, three channels) as one byte: 0 = lossless, else tenths of log₂.

    Raises:
        InvalidArgumentError: `mse` is negative or not a number.
    """
    if not mse >= 0:
        raise InvalidArgumentError(f"a mean squared error is not negative, as {mse} is")
    if mse == 0:
        return 0
    return min(max(math.floor(10 * math.log2(min(mse, 65_025.0)) + 81.5), 1), 255)


def _load(data: bytes, codec: str, size: Size) -> Image.Image:
    row = get_codec(codec)
    # First, so that the checks do not go through the removed part, which may be most of the file.
    bare = row.bare(data)
    info = check_plane(bare, codec, size)
    if row.name == "png":
        check_png_stream(bare, info)
    try:
        image = row.open(io.BytesIO(bare))
        image.load()
    except Image.DecompressionBombError as error:
        raise LimitExceededError(f"the {codec} plane is too large ({one_line(error)})") from None
    except Exception as error:
        raise PlaneError(f"the {codec} plane does not decode ({one_line(error)})") from None
    if image.size != size or image.mode not in ("RGB", "L"):
        raise PlaneError(f"the {codec} plane decodes to another size or mode than it declares")
    return image


def _write_webp(image: Image.Image, options: CodecOptions) -> Coded:
    out = io.BytesIO()
    # With lossless=True Pillow's quality is an effort too; method 4 at 75 gave 2.2 MP/s.
    method, quality = min(options.effort, 6), min(100, 35 + 10 * options.effort)
    image.save(out, "WEBP", lossless=True, exact=True, method=method, quality=quality)
    return "webp", out.getvalue()


def _write_png(image: Image.Image, options: CodecOptions) -> Coded:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=min(9, options.effort + 2))
    return "png", out.getvalue()


def _write_avif(image: Image.Image, options: CodecOptions) -> Coded:
    out = io.BytesIO()
    subsampling = "4:0:0" if image.mode == "L" else options.subsampling
    # "iq" of libaom has no lossless coding; libavif takes "psnr" there, too.
    tune = "psnr" if options.quality == 100 and options.tune == "iq" else options.tune
    image.save(
        out,
        "AVIF",
        quality=options.quality,
        subsampling=subsampling,
        speed=options.speed,
        autotiling=False,
        max_threads=1,  # the same bytes with any number of cores
        advanced={"tune": tune, **AV1_TOOLS},
    )
    return "avif", out.getvalue()


def _write_av1(image: Image.Image, options: CodecOptions) -> Coded:
    _, file = _write_avif(image, options)
    data = unboxed(file)
    return ("avif", file) if data is None else ("av1", data)


CODECS: dict[str, PlaneCodec] = {
    codec.name: codec
    for codec in (
        PlaneCodec(
            "webp", "WEBP", True, WEBP_MAX_SIDE, _write_webp, probe_webp, WebPImagePlugin.WebPImageFile
        ),
        PlaneCodec(
            "png", "PNG", True, PNG_MAX_SIDE, _write_png, probe_png, PngImagePlugin.PngImageFile, bare_png
        ),
        PlaneCodec(
            "avif", "AVIF", False, AVIF_MAX_SIDE, _write_avif, probe_avif, AvifImagePlugin.AvifImageFile
        ),
        PlaneCodec("av1", "AVIF", False, AVIF_MAX_SIDE, _write_av1, probe_av1, open_av1),
        PlaneCodec(
            "jpeg", "JPEG", False, JPEG_MAX_SIDE, None, probe_jpeg, JpegImagePlugin.JpegImageFile, bare_jpeg
        ),
    )
}
"""Every plane codec by name. `names` lists the names that can be asked for, and what a new codec needs."""
