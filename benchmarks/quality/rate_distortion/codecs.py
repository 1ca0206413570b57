"""The formats that bbmr is compared with: each writes a photo as a whole file at a quality, and reads it back."""

from __future__ import annotations

import io
import resource
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from bbmr_shared.images.codecs import AV1_TOOLS, encode_plane

from .metrics import METRICS

Picture = NDArray[np.uint8]
Encoder = Callable[[Picture, float], tuple[bytes, float]]
"""Photo and quality → the whole file, and the CPU seconds that writing it took."""
TUNES = ("psnr", "ssim", "iq")
CHROMA = ("4:2:0", "4:4:4")
AVIF_QUALITIES = (0, 4, 8, 13, 19, 26, 33, 40, 47, 54, 61, 68, 75, 83, 91)
JPEG_QUALITIES = (4, 7, 11, 16, 22, 29, 37, 46, 56, 66, 76, 85, 92)
JXL_QUALITIES = (1, 4, 9, 16, 24, 33, 43, 53, 63, 72, 80, 87, 93)
WEBP_QUALITIES = (0, 3, 8, 15, 24, 34, 45, 56, 67, 77, 86, 93)


@dataclass(frozen=True)
class Codec:
    """A way to write and read a picture.

    Attributes:
        name: of this codec with its options; part of the key of kept points.
        description: format, options and versions in words.
        qualities: what `encode` is called with, ascending in bytes.
        encode: writes a file.
        decode: reads it.
        version: of what writes and reads; points of other versions are made again.
        metrics: those that are measured.
        lowest, highest: bits per pixel between which points are wanted; one point beyond each end is measured, too.
    """

    name: str
    description: str
    qualities: tuple[float, ...]
    encode: Encoder
    decode: Callable[[bytes], Picture]
    version: str
    metrics: tuple[str, ...] = tuple(METRICS)
    lowest: float = 0.0
    highest: float = float("inf")


def avif(speed: int, tune: str, chroma: str, lowest: float = 0.0, highest: float = float("inf")) -> Codec:
    """AVIF at Pillow's defaults but for speed, tune and chroma.

    SSIMULACRA 2 is measured for the tune `iq` only: the others are not made for it, and it takes longest.
    """
    options = {"speed": speed, "subsampling": chroma, "advanced": {"tune": tune}}
    return Codec(
        name=f"avif-s{speed}-{tune}-{chroma.replace(':', '')}",
        description=f"AVIF, speed {speed}, tune {tune}, {chroma}; {_avif_version()}",
        qualities=AVIF_QUALITIES,
        encode=_pillow_encoder("AVIF", **options),
        decode=pillow_decode,
        version=f"pillow {PIL.__version__}, {_avif_version()}",
        metrics=tuple(name for name in METRICS if tune == "iq" or name != "ssimulacra2"),
        lowest=lowest,
        highest=highest,
    )


def avifs(speed: int, lowest: float = 0.0, highest: float = float("inf")) -> list[Codec]:
    """Return AVIF with every tune and chroma format."""
    return [avif(speed, tune, chroma, lowest, highest) for tune in TUNES for chroma in CHROMA]


def webp(lowest: float = 0.0, highest: float = float("inf")) -> Codec:
    """Return lossy WebP, method 6."""
    version = f"libwebp {features.version('webp')}"
    return Codec(
        "webp-m6",
        f"WebP, method 6; {version}",
        WEBP_QUALITIES,
        _pillow_encoder("WEBP", method=6),
        pillow_decode,
        f"pillow {PIL.__version__}, {version}",
        lowest=lowest,
        highest=highest,
    )


def jpegs(lowest: float = 0.0, highest: float = float("inf")) -> list[Codec]:
    """Return progressive JPEG with optimised tables, 4:2:0 and 4:4:4."""
    version = f"libjpeg-turbo {features.version('libjpeg_turbo') or features.version('jpg')}"
    return [
        Codec(
            f"jpeg-{chroma.replace(':', '')}",
            f"JPEG, progressive, optimised, {chroma}; {version}",
            JPEG_QUALITIES,
            _pillow_encoder("JPEG", optimize=True, progressive=True, subsampling=chroma),
            pillow_decode,
            f"pillow {PIL.__version__}, {version}",
            lowest=lowest,
            highest=highest,
        )
        for chroma in CHROMA
    ]


def plane_avif(chroma: str, lowest: float = 0.0, highest: float = float("inf")) -> Codec:
    """Return AVIF of the photo with the options of bbmr's planes, at speed 6: what these options gain by themselves."""

    def encode(photo: Picture, quality: float) -> bytes:
        return encode_plane(photo, "avif", quality=int(quality), subsampling=chroma, speed=6, tune="psnr")[1]

    return Codec(
        f"planes-{chroma.replace(':', '')}",
        f"AVIF with the options of bbmr's planes, speed 6, tune psnr, {chroma}; {_avif_version()}",
        AVIF_QUALITIES,
        timed(encode),
        pillow_decode,
        f"pillow {PIL.__version__}, {_avif_version()}, {AV1_TOOLS}",
        metrics=tuple(name for name in METRICS if name != "ssimulacra2"),
        lowest=lowest,
        highest=highest,
    )


def uniform(rate: int, filter_name: str, lowest: float = 0.0, highest: float = float("inf")) -> Codec:
    """Return AVIF of the photo reduced by `rate`, enlarged again by the same filter, "bicubic" or "lanczos".

    The plane is written as bbmr writes its planes, at speed 6, tune psnr, 4:2:0.
    """
    resample = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}[filter_name]

    def encode(photo: Picture, quality: float) -> bytes:
        height, width = photo.shape[:2]
        size = max(1, round(width / rate)), max(1, round(height / rate))
        plane = np.asarray(Image.fromarray(photo).resize(size, resample))
        _, data = encode_plane(plane, "avif", quality=int(quality), subsampling="4:2:0", speed=6, tune="psnr")
        return struct.pack("<HH", width, height) + data

    def decode(data: bytes) -> Picture:
        size = struct.unpack("<HH", data[:4])
        with Image.open(io.BytesIO(data[4:])) as image:
            return np.asarray(image.convert("RGB").resize(size, resample))

    return Codec(
        f"uniform-{rate}-{filter_name}",
        f"AVIF, speed 6, tune psnr, 4:2:0, of the photo reduced by {rate} ({filter_name}); {_avif_version()}",
        AVIF_QUALITIES,
        timed(encode),
        decode,
        f"pillow {PIL.__version__}, {_avif_version()}, {AV1_TOOLS}",
        lowest=lowest,
        highest=highest,
    )


def jxl(lowest: float = 0.0, highest: float = float("inf")) -> Codec | None:
    """Return JPEG XL, effort 7; None without the package pillow-jxl-plugin."""
    try:
        import pillow_jxl  # noqa: F401, registers the format
    except ImportError:
        return None
    version = f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"
    return Codec(
        "jxl-e7",
        f"JPEG XL, effort 7; {version}",
        JXL_QUALITIES,
        _pillow_encoder("JXL", effort=7),
        pillow_decode,
        version,
        lowest=lowest,
        highest=highest,
    )


def cpu_seconds() -> float:
    """Return CPU seconds of this process, its threads, and its child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(encode: Callable[[Picture, float], bytes]) -> Encoder:
    """Return an encoder that measures `encode`."""

    def measured(photo: Picture, quality: float) -> tuple[bytes, float]:
        start = cpu_seconds()
        data = encode(photo, quality)
        return data, cpu_seconds() - start

    return measured


def pillow_decode(data: bytes) -> Picture:
    """Return the picture in a file of any format that Pillow reads."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _pillow_encoder(name: str, **options: Any) -> Encoder:
    def encode(photo: Picture, quality: float) -> bytes:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, name, quality=int(quality), **options)
        return file.getvalue()

    return timed(encode)


def _avif_version() -> str:
    from PIL import _avif

    return f"libavif {features.version('avif')}, {_avif.codec_versions()}"
