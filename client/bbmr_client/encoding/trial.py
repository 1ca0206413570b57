"""Trials: fast encodes of the whole picture at one rate, which tell the bytes and errors of a slow one.

AVIF's fastest speed takes a tenth of the time of speed 6. Its bytes and errors are off by 10 %, but by almost the same
factor at every rate: so the choice between rates is off by 2 to 4 % (`benchmarks.quality.operating_points`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.block_statistics import BlockStatistics, mean_squared_error
from bbmr_shared.images.codecs import decode, encode_plane

from .operating_points import PlaneSettings

SPEED = 10
_BYTES_FACTOR = {1: (15, 1.07, 65, 0.94), 2: (25, 1.01, 65, 0.93)}
"""Rate → (quality, bytes at speed 6 per byte of the trial) twice; coarser rates are like 2."""
_ERROR_FACTOR = 0.82
"""Coding error at speed 6 per coding error of the trial."""
_ENLARGED = 1.15
"""Squared error of the enlarged plane, less that of downscaling, per squared error in the plane and pixel."""
_SAMPLED = 4
"""The coding error is measured in one of so many rows."""
_SPEEDS = {
    9: (1.03, 1.15),
    8: (1.02, 1.1),
    7: (1.005, 1.07),
    5: (0.985, 0.975),
    4: (0.98, 0.97),
    3: (0.975, 0.965),
    2: (0.97, 0.96),
}
"""Speed → factors of bytes and of coding error against speed 6; a trial's own speed needs none."""


@dataclass(frozen=True)
class Trial:
    """What the whole picture would be at one rate, coded with `settings`.

    Attributes:
        bytes: of the coded plane.
        errors: squared error of each block of the composite, summed over its pixels, `float64 [rows, cols]`.
        coding: mean squared error of the plane's samples by coding alone.
        measured, in_plane: squared errors of the trial itself, after compositing and in the plane, `[rows, cols]`.
    """

    rate: int
    settings: PlaneSettings
    bytes: float
    errors: NDArray[np.float64]
    coding: float
    measured: NDArray[np.float64]
    in_plane: NDArray[np.float64]


def run_trial(
    plane: NDArray[np.uint8],
    rate: int,
    settings: PlaneSettings,
    statistics: Mapping[int, BlockStatistics],
    downscaled: NDArray[np.float64],
    similar: Trial | None = None,
) -> Trial:
    """Code a plane at the fastest speed, and estimate what it will be at the speed of `settings`.

    Args:
        plane: the whole picture at `rate`, `uint8 [H/rate, W/rate, 3]` or, if it is grey, `[H/rate, W/rate]`.
        statistics: at 1 those of the picture, at `rate` those of the plane.
        downscaled: errors of the blocks by downscaling alone, `[rows, cols]`.
        similar: a trial of this rate with another chroma format. Then the plane is not enlarged again; its errors
            differ from those of `similar` as they do in the plane.
    """
    codec, data = _fast(plane, settings)
    decoded = decode(data, codec, (plane.shape[1], plane.shape[0]))
    bytes_factor, error_factor = _factors(rate, settings)
    in_plane = statistics[rate].errors(decoded, 1)
    if rate == 1:
        measured = in_plane
    elif similar is None:
        measured = statistics[1].errors(decoded, rate)
    else:
        measured = similar.measured + _ENLARGED * rate**2 * (in_plane - similar.in_plane)
    errors = downscaled + np.maximum(measured - downscaled, 0) * error_factor
    coding = mean_squared_error(decoded[::_SAMPLED], plane[::_SAMPLED]) * error_factor
    return Trial(rate, settings, len(data) * bytes_factor, errors, coding, measured, in_plane)


def expected_bytes(plane: NDArray[np.uint8], rate: int, settings: PlaneSettings) -> float:
    """Returns the bytes that a plane is expected to have at the speed of `settings`, from a trial."""
    return len(_fast(plane, settings)[1]) * _factors(rate, settings)[0]


def code_plane(plane: NDArray[np.uint8], codec: str, settings: PlaneSettings) -> tuple[str, bytes]:
    """Code a plane as `encode_plane`, with these settings."""
    return encode_plane(
        plane,
        codec,
        quality=settings.quality,
        subsampling=settings.subsampling,
        speed=settings.speed,
        tune=settings.tune,
    )


def _fast(plane: NDArray[np.uint8], settings: PlaneSettings) -> tuple[str, bytes]:
    return code_plane(plane, "av1", replace(settings, speed=SPEED))


def _factors(rate: int, settings: PlaneSettings) -> tuple[float, float]:
    """Factors of bytes and of coding error from the trial to the speed of `settings`."""
    low, at_low, high, at_high = _BYTES_FACTOR[min(rate, 2)]
    if settings.speed >= SPEED:
        return 1.0, 1.0
    slow_bytes, slow_error = _SPEEDS.get(settings.speed, (1.0, 1.0))
    factor = float(np.interp(settings.quality, (low, high), (at_low, at_high)))
    return factor * slow_bytes, _ERROR_FACTOR * slow_error
