"""The figures that the page shows, as plain JSON data: what a container holds, and how it compares with other codecs.

Photos and reconstructions are `uint8 [H, W, 3]`. PSNR is in dB, and None for equal pictures.
"""

from __future__ import annotations

import math

import numpy as np

from bbmr_server.encode_queue import IsCancelled
from bbmr_shared.container import Container
from bbmr_shared.grid import RATES
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_rgb, psnr_y

from .avif import Picture, avif_within, resized

Figures = dict[str, object]


def facts(container: Container, size: int) -> Figures:
    """Returns what a container of `size` bytes holds. `rate_map` has a string for each row, with log₂ of each rate."""
    grid = container.grid
    symbols = np.log2(container.rate_map).astype(np.uint8)
    return {
        "width": container.width,
        "height": container.height,
        "bytes": size,
        "bpp": _bpp(size, container.width, container.height),
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
    photo: Picture, reconstruction: Picture, container: Container, size: int, cancelled: IsCancelled
) -> Figures:
    """Returns PSNR and size of the reconstruction, of AVIF with as many bytes, and of rescaling with as many pixels.

    `avif` is None if no AVIF is so small, `rescaled` if the photo has no more pixels than the container keeps.

    Raises:
        WorkCancelledError as soon as `cancelled()` is true.
    """
    height, width = photo.shape[:2]
    found: Figures = {
        "bbmr": {"bytes": size, "bpp": _bpp(size, width, height), **_psnr(photo, reconstruction)},
        "rescaled": rescaled(photo, container.grid.samples(container.rate_map), container.channels == 1),
    }
    best = avif_within(photo, size, cancelled)
    found["avif"] = best and {
        "bytes": len(best.data),
        "bpp": _bpp(len(best.data), width, height),
        "scale": best.scale,
        "quality": best.quality,
        "speed": best.speed,
        **_psnr(photo, best.picture),
    }
    return found


def rescaled(photo: Picture, pixels: int, grey: bool = False) -> Figures | None:
    """Returns the figures of scaling the photo down to at most `pixels` pixels and up again (bicubic).

    None if the whole photo has no more pixels. `bytes` is the small picture in lossless WebP; with `grey`, one channel.
    """
    height, width = photo.shape[:2]
    factor = math.sqrt(pixels / (width * height))
    if factor >= 1:
        return None
    small = resized(photo, (max(1, int(width * factor)), max(1, int(height * factor))))
    _, data = encode_plane(small[..., 0] if grey else small, "webp")
    return {
        "width": small.shape[1],
        "height": small.shape[0],
        "pixels": small.shape[0] * small.shape[1],
        "bytes": len(data),
        "bpp": _bpp(len(data), width, height),
        **_psnr(photo, resized(small, (width, height))),
    }


def _bpp(size: int, width: int, height: int) -> float:
    return size * 8 / (width * height)


def _psnr(photo: Picture, other: Picture) -> Figures:
    values = {"psnr_rgb": psnr_rgb(photo, other), "psnr_y": psnr_y(photo, other)}
    return {name: None if math.isinf(value) else value for name, value in values.items()}
