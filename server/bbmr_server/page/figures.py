"""The figures that the page shows, as plain JSON data: what a container holds, and how close a picture is to its photo.

Photos and pictures are `uint8 [H, W, 3]`. PSNR is in dB, and None for equal pictures.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bbmr_shared.container import Container
from bbmr_shared.grid import RATES
from bbmr_shared.metrics import psnr_rgb, psnr_y, ssim

from .avif import Avif, Picture, picture_of

Figures = dict[str, Any]


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
        "alpha_bytes": 0 if container.alpha is None else len(container.alpha.data),
        "model": container.model,
        "original": container.original,
    }


def measured(photo: Picture, picture: Picture, size: int) -> Figures:
    """Returns bytes, bits per pixel and the metrics of a file of `size` bytes that shows `picture`."""
    return {
        "bytes": size,
        "bpp": _bpp(size, photo.shape[1], photo.shape[0]),
        **_psnr(photo, picture),
        "ssim": ssim(photo, picture),
    }


def at_equal_bytes(photo: Picture, best: Avif, figures: Figures, size: int) -> Figures:
    """Returns the PSNR of AVIF with exactly `size` bytes: between that of the file and that of the next larger one.

    AVIF has coarse steps of quality, so the file may leave some percent of the bytes unused.

    Args:
        figures: of the file, as of `measured`.
    """
    own = {name: figures[name] for name in ("psnr_rgb", "psnr_y")}
    if best.larger is None:
        return own
    more = _psnr(photo, picture_of(best.larger, best.scale, photo))
    if None in (*own.values(), *more.values()):
        return own
    small, large = len(best.data), len(best.larger)
    share = math.log(size / small) / math.log(large / small)
    return {name: own[name] + share * (more[name] - own[name]) for name in own}


def _psnr(photo: Picture, picture: Picture) -> dict[str, float | None]:
    values = {"psnr_rgb": psnr_rgb(photo, picture), "psnr_y": psnr_y(photo, picture)}
    return {name: None if math.isinf(value) else value for name, value in values.items()}


def _bpp(size: int, width: int, height: int) -> float:
    return size * 8 / (width * height)
