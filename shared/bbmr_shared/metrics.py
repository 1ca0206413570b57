"""Quality metrics of two pictures `uint8 [H, W, 3]`: PSNR over RGB, PSNR and SSIM over luma."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .colour import luma
from .errors import InvalidArgumentError

Picture = NDArray[np.uint8]

_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
_STRIP_ROWS = 256
"""Rows handled at a time, so that memory does not grow with the picture."""


def psnr_rgb(a: Picture, b: Picture) -> float:
    """PSNR in dB over all channels and pixels; inf for equal pictures.

    Raises `InvalidArgumentError` if the shapes are unequal, as all metrics do.
    """
    _check(a, b)
    total = 0
    for top in range(0, a.shape[0], _STRIP_ROWS):
        difference = a[top : top + _STRIP_ROWS].astype(np.int32) - b[top : top + _STRIP_ROWS]
        total += int((difference * difference).sum(dtype=np.int64))
    return _decibel(total / a.size)


def psnr_y(a: Picture, b: Picture) -> float:
    """PSNR in dB of BT.601 studio luma with peak 255, no border cut; inf for equal luma."""
    _check(a, b)
    total = 0.0
    for top in range(0, a.shape[0], _STRIP_ROWS):
        difference = luma(a[top : top + _STRIP_ROWS]) - luma(b[top : top + _STRIP_ROWS])
        total += float((difference * difference).sum())
    return _decibel(total / (a.shape[0] * a.shape[1]))


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity of luma (Wang et al., 2004): Gaussian window, σ = 1.5, 11×11, K = (0.01, 0.03).

    The mean over the positions where the window lies inside the picture; pictures under 11 pixels a side are
    compared under one window that covers them.
    """
    _check(a, b)
    height, width = a.shape[:2]
    radius = _SSIM_RADIUS
    if min(height, width) < 2 * radius + 1:
        return float(_ssim_map(luma(a), luma(b), None).mean())
    total, count = 0.0, 0
    for top in range(0, height - 2 * radius, _STRIP_ROWS):
        rows = slice(top, min(height, top + _STRIP_ROWS + 2 * radius))
        values = _ssim_map(luma(a[rows]), luma(b[rows]), _window())
        total, count = total + float(values.sum()), count + values.size
    return total / count


def compare(a: Picture, b: Picture) -> dict[str, float | int | None]:
    """All metrics of two pictures: `psnr_rgb`, `psnr_y` (None where equal), `ssim`, `max_difference`."""
    values = psnr_rgb(a, b), psnr_y(a, b)
    rgb, y = (None if math.isinf(value) else value for value in values)
    largest = int(np.abs(a.astype(np.int16) - b).max())
    return {"psnr_rgb": rgb, "psnr_y": y, "ssim": ssim(a, b), "max_difference": largest}


def _check(a: Picture, b: Picture) -> None:
    if a.shape != b.shape:
        raise InvalidArgumentError(f"pictures of unequal shape: {a.shape} and {b.shape}")


def _decibel(mean_squared_error: float) -> float:
    return math.inf if mean_squared_error <= 1e-12 else 10 * math.log10(255**2 / mean_squared_error)


def _window() -> NDArray[np.float64]:
    offsets = np.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    return np.asarray(weights / weights.sum())


def _ssim_map(
    a: NDArray[np.float64], b: NDArray[np.float64], window: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full((1, 1), x.mean()) if window is None else _blur(_blur(x, window).T, window).T

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray(similar / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)))


def _blur(x: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over each run of rows that the window covers: `[h, w]` → `[h − 10, w]`."""
    length = x.shape[0] - len(window) + 1
    out: NDArray[np.float64] = window[0] * x[:length]
    for index, weight in enumerate(window[1:], 1):
        out += weight * x[index : index + length]
    return out
