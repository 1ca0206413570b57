"""The figures of the page: what a container holds, and how far its reconstruction is from the photo, beside others.

In: a container, and for the comparison the photo and the reconstruction as `uint8 [H, W, 3]`. Out: plain JSON data.
A PSNR of None is that of equal pictures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.codecs import decode, encode_plane
from bbmr_shared.container import Container
from bbmr_shared.grid import RATES
from bbmr_shared.metrics import psnr_rgb, psnr_y

from .desk import GivenUp, go_on

Picture = NDArray[np.uint8]
Figures = dict[str, object]

AVIF_SPEED, AVIF_SPEED_LARGE, AVIF_LARGE = 8, 10, 2 << 20
"""Of libavif; pictures with more pixels than the last are coded at the second, which takes a quarter of the time and
10 % more bytes."""


def facts(container: Container, size: int) -> Figures:
    """What a container of `size` bytes holds; `rate_map` has one digit a block, log₂ of its rate, row by row."""
    grid = container.grid
    symbols = np.log2(container.rate_map).astype(np.uint8)
    return {
        "width": container.width,
        "height": container.height,
        "bytes": size,
        "bpp": _bpp(size, container),
        "pixels": grid.samples(container.rate_map),
        "share": grid.samples(container.rate_map) / (grid.padded_width * grid.padded_height),
        "block": container.block,
        "rows": grid.rows,
        "cols": grid.cols,
        "rates": {str(rate): int((container.rate_map == rate).sum()) for rate in RATES},
        "rate_map": [row.tobytes().decode() for row in symbols + ord("0")],
        "planes": [{"rate": p.rate, "codec": p.codec, "bytes": len(p.data)} for p in container.planes],
        "model": container.model,
        "original": container.original,
    }


def comparison(
    photo: Picture, reconstruction: Picture, container: Container, size: int, given_up: GivenUp
) -> Figures:
    """PSNR of the reconstruction, of AVIF with at most as many bytes, and of plain rescaling with as many pixels.

    Raises:
        GivenUpError: as soon as `given_up()` is true.
    """
    found: Figures = {
        "bbmr": {"bytes": size, "bpp": _bpp(size, container), **_psnr(photo, reconstruction)},
        "rescaled": rescaled(photo, container.grid.samples(container.rate_map)),
    }
    go_on(given_up)
    best = avif_within(photo, size, given_up)
    if best is not None:
        quality, data, picture = best
        found["avif"] = {
            "bytes": len(data),
            "bpp": _bpp(len(data), container),
            "quality": quality,
            "speed": _speed(photo),
            **_psnr(photo, picture),
        }
    else:
        found["avif"] = None
    return found


def avif_within(photo: Picture, size: int, given_up: GivenUp) -> tuple[int, bytes, Picture] | None:
    """The AVIF of the highest quality that has at most `size` bytes: (quality, file, picture), or None."""
    best: tuple[int, bytes] | None = None
    low, high = 0, 100
    while low <= high:
        go_on(given_up)
        middle = (low + high) // 2
        codec, data = encode_plane(photo, "avif", quality=middle, speed=_speed(photo))
        if codec != "avif":  # a side is too long for it
            return None
        if len(data) <= size:
            best, low = (middle, data), middle + 1
        else:
            high = middle - 1
    if best is None:
        return None
    return *best, decode(best[1], "avif", (photo.shape[1], photo.shape[0]))


def rescaled(photo: Picture, pixels: int) -> Figures:
    """The whole photo scaled down to at most `pixels` pixels and up again, both bicubic."""
    height, width = photo.shape[:2]
    factor = min(1.0, math.sqrt(pixels / (width * height)))
    small = max(1, int(width * factor)), max(1, int(height * factor))
    image = Image.fromarray(photo)
    bicubic = Image.Resampling.BICUBIC
    back = np.asarray(image.resize(small, bicubic).resize((width, height), bicubic))
    return {"width": small[0], "height": small[1], "pixels": small[0] * small[1], **_psnr(photo, back)}


def _speed(photo: Picture) -> int:
    return AVIF_SPEED if photo.shape[0] * photo.shape[1] <= AVIF_LARGE else AVIF_SPEED_LARGE


def _bpp(size: int, container: Container) -> float:
    return size * 8 / (container.width * container.height)


def _psnr(photo: Picture, other: Picture) -> Figures:
    values = {"psnr_rgb": psnr_rgb(photo, other), "psnr_y": psnr_y(photo, other)}
    return {name: None if math.isinf(value) else value for name, value in values.items()}
