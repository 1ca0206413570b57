"""The JSON of `encode --json` and `info --json`, as pydantic models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from bbmr_shared.container import Container
from bbmr_shared.grid import RATES


class PlaneReport(BaseModel):
    """One plane. `bytes` is its coded size.

    quality: that its codec was given; null if it is lossless, or was read from a file, which does not have it.
    """

    rate: int
    codec: str
    quality: int | None
    bytes: int


class EncodeReport(BaseModel):
    """The report on an encoded photo.

    bytes: of the whole file. bpp: 8·bytes per pixel of the picture.
    pixels: low-resolution samples kept, Σ padded block area / rate².
    overall_rate: √(padded area / pixels).
    rates: the number of blocks at each rate, also where it is 0.
    original: the container carries the photo's file as it is.
    quality: that was used; null if planes are lossless.
    psnr: dB over RGB that was reached, if a PSNR was the target. psnr_of: what has it; "composite" is the picture
        without the network, "output" that with it.
    warnings: what of the photo is not kept.
    seconds: from the decoded photo to the bytes of the container.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    pixels: int
    overall_rate: float
    rates: dict[str, int]
    planes: list[PlaneReport]
    original: bool
    quality: int | None
    psnr: float | None
    psnr_of: str | None
    warnings: list[str]
    seconds: float


class InfoReport(BaseModel):
    """Everything in a container but its pixels. A name that is also in `EncodeReport` means the same.

    strengths: the number of blocks at each network strength, 0 … 1.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    pixels: int
    overall_rate: float
    block: int
    grid: tuple[int, int]
    rates: dict[str, int]
    planes: list[PlaneReport]
    original: bool
    coding_errors: dict[str, int]
    channels: int
    alpha: bool
    dpi: tuple[float, float] | None
    icc_bytes: int
    exif_bytes: int
    xmp_bytes: int
    downscaler: str
    downscaler_version: int
    model: str | None
    strength: float
    strengths: dict[str, int]
    unknown_fields: list[str]


def encode_report(
    container: Container,
    size: int,
    seconds: float,
    quality: int | None = None,
    psnr: float | None = None,
    psnr_of: str | None = None,
    warnings: Sequence[str] = (),
) -> EncodeReport:
    """Returns the report on a container whose file has `size` bytes. `EncodeReport` describes the arguments."""
    return EncodeReport(
        **_common(container, size),
        quality=quality,
        psnr=None if psnr is None else finite(round(psnr, 3)),
        psnr_of=psnr_of,
        warnings=list(warnings),
        seconds=round(seconds, 3),
    )


def info_report(container: Container, size: int) -> InfoReport:
    """Returns the report on a container whose file has `size` bytes."""
    return InfoReport(
        **_common(container, size),
        block=container.block,
        grid=container.grid.shape,
        coding_errors={str(rate): error for rate, error in container.coding_errors.items()},
        channels=container.channels,
        alpha=container.alpha is not None,
        dpi=container.dpi,
        icc_bytes=len(container.icc or b""),
        exif_bytes=len(container.exif or b""),
        xmp_bytes=len(container.xmp or b""),
        downscaler=container.downscaler,
        downscaler_version=container.downscaler_version,
        model=container.model,
        strength=container.strength / 2,
        strengths={f"{h / 2:g}": int(np.count_nonzero(container.strengths == h)) for h in (0, 1, 2)},
        unknown_fields=sorted(container.extra),
    )


def finite(value: Any) -> Any:
    """Returns `value`, or None for an infinite float or NaN, which JSON cannot express."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rate_counts(container: Container) -> dict[str, int]:
    """Returns the number of blocks at each rate, also where it is 0."""
    return {str(rate): int(np.count_nonzero(container.rate_map == rate)) for rate in RATES}


def overall_rate(container: Container) -> float:
    """Returns the uniform rate that would keep as many samples: √(padded area / samples)."""
    grid = container.grid
    return math.sqrt(grid.padded_width * grid.padded_height / container.samples)


def _common(container: Container, size: int) -> dict[str, Any]:
    return {
        "width": container.width,
        "height": container.height,
        "bytes": size,
        "bpp": round(8 * size / (container.width * container.height), 6),
        "pixels": container.samples,
        "overall_rate": round(overall_rate(container), 6),
        "rates": rate_counts(container),
        "planes": [
            PlaneReport(rate=plane.rate, codec=plane.codec, quality=plane.quality, bytes=len(plane.data))
            for plane in container.planes
        ],
        "original": container.original,
    }
