"""Operating points: what a quality from 0 to 100 means for each plane, and what an error is worth in bits.

The quality is AVIF's own scale at rate 1. Coarser planes have a higher quality, so that one more bit is worth the same
in each of them. All numbers are medians over training photographs (`benchmarks.quality.operating_points`), with the
error after the network, AVIF speed 6, tune psnr.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

QUALITIES = (0, 100)
"""The lowest and the highest quality."""

_LAMBDA = {
    0: 3000.0,
    10: 747.0,
    18: 362.0,
    26: 188.0,
    34: 100.0,
    42: 48.0,
    52: 19.2,
    62: 8.8,
    72: 4.5,
    85: 1.2,
    100: 0.1,
}
"""Quality → what one bit per pixel is worth in squared error."""
_PLANE_QUALITY = {
    1: {0: 0, 100: 100},
    2: {0: 8, 10: 28, 18: 38, 26: 46, 34: 54, 42: 64, 52: 76, 62: 85, 100: 100},
    4: {0: 24, 10: 45, 18: 58, 26: 64, 34: 75, 42: 83, 52: 88, 100: 100},
    8: {0: 40, 10: 60, 18: 72, 34: 85, 100: 100},
    16: {0: 50, 10: 72, 18: 82, 100: 100},
}
"""Rate → quality → quality of that rate's plane."""
_HIGHEST = {1: 100, 2: 62, 4: 34, 8: 9, 16: 3}
"""Rate → up to which quality the whole picture at that rate is worth a trial."""


@dataclass(frozen=True)
class PlaneSettings:
    """How a lossy plane is coded; `bbmr_shared.images.codecs.encode_plane` describes the fields."""

    quality: int
    subsampling: str
    speed: int
    tune: str = "psnr"


def multiplier(quality: float) -> float:
    """Returns λ: the squared error per pixel (YCbCr 6:1:1, 8 bits) that is as bad as one bit per pixel."""
    return exp(float(np.interp(quality, list(_LAMBDA), [log(value) for value in _LAMBDA.values()])))


def plane_quality(quality: float, rate: int) -> int:
    """Returns the quality, 0 … 100, of the plane of `rate`."""
    points = _PLANE_QUALITY[rate]
    return round(float(np.interp(quality, list(points), list(points.values()))))


def rates_worth_trying(quality: float, palette: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the rates of `palette` at which the whole picture may be best, at least the finest of them."""
    found = tuple(rate for rate in palette if quality <= _HIGHEST[rate])
    return found or palette[:1]


def speed(rate: int, effort: int) -> int:
    """Returns the speed of AVIF's encoder: slower where the plane is smaller and where the effort is higher."""
    finest = (10, 9, 8, 7, 6, 6, 6, 6, 5, 4)[effort]
    slower = {1: 0, 2: 0, 4: 1, 8: 3, 16: 4} if effort <= 4 else {1: 0, 2: 1, 4: 2, 8: 4, 16: 4}
    return max(finest - slower[rate], 2)
