"""Searches the quality that keeps a budget of bytes or reaches a PSNR, with few encodes at the real speed."""

from __future__ import annotations

import math
from collections.abc import Callable

from bbmr_shared.errors import UsageError

from .lossy import CodedPicture, LossyPicture
from .operating_points import QUALITIES

_SLOPE = 0.036
"""Growth of the logarithm of the bytes per step of quality, before it is known better."""
_DECIBELS = 0.22
"""Growth of the PSNR per step of quality, likewise."""
_START = 45
_ENCODES = 6
_CLOSE = 0.985
"""A file of this share of the budget is not made any larger."""
_CLOSE_DB = 0.08

Size = Callable[[CodedPicture], int]


def code_within(picture: LossyPicture, most: int, size: Size) -> tuple[CodedPicture, int]:
    """Return the best picture whose file has at most `most` bytes, and its quality.

    Args:
        picture: the photo.
        most: bytes.
        size: bytes of the whole file with these planes.

    Raises:
        UsageError: no quality and no rate keeps the budget; the message names the smallest file.
    """
    low, high = QUALITIES[0] - 1, QUALITIES[1] + 1
    best: CodedPicture | None = None
    quality, slope = _expected_quality(picture, most)
    for _ in range(_ENCODES):
        coded = picture.code(quality)
        found = size(coded)
        if found <= most:
            low, best = quality, coded
            if found >= _CLOSE * most:
                break
        else:
            high = quality
        if high - low <= 1:
            break
        step = math.log(most * (1 + _CLOSE) / 2 / found) / slope
        quality = min(max(round(quality + step), low + 1), high - 1)
    if best is not None:
        return best, low
    for quality in range(high - 1, QUALITIES[0] - 1, -1) if high <= 8 else (high // 2, high // 4, 0):
        coded = picture.code(quality)
        if size(coded) <= most:
            return coded, quality
    return _coarsest_within(picture, most, size), QUALITIES[0]


def code_to_psnr(
    picture: LossyPicture, target: float, psnr: Callable[[CodedPicture], float]
) -> tuple[CodedPicture, int, float]:
    """Return the smallest picture that is at least as good as `target` dB, its quality and its PSNR.

    If even the highest quality is worse, that one is returned.
    """
    low, high = QUALITIES[0] - 1, QUALITIES[1] + 1
    best: tuple[CodedPicture, int, float] | None = None
    quality = _START
    for _ in range(_ENCODES):
        coded = picture.code(quality)
        found = psnr(coded)
        if found >= target:
            high, best = quality, (coded, quality, found)
            if found <= target + _CLOSE_DB:
                break
        else:
            low = quality
        if high - low <= 1:
            break
        step = (target + _CLOSE_DB / 2 - found) / _DECIBELS
        quality = min(max(round(quality + step), low + 1), high - 1)
    if best is None:
        coded = picture.code(QUALITIES[1])
        best = coded, QUALITIES[1], psnr(coded)
    return best


def _expected_quality(picture: LossyPicture, most: int) -> tuple[int, float]:
    """Returns the quality that is expected to have `most` bytes, by trials, and the slope there."""
    points: list[tuple[int, float]] = []
    quality, slope = _START, _SLOPE
    for _ in range(3):
        points.append((quality, math.log(picture.choose(quality)[0].bytes)))
        if len(points) > 1 and points[-1][0] != points[-2][0]:
            measured = (points[-1][1] - points[-2][1]) / (points[-1][0] - points[-2][0])
            slope = min(max(measured, _SLOPE / 3), _SLOPE * 3)
        step = round((math.log(most) - points[-1][1]) / slope)
        if abs(step) <= 1:
            break
        quality = min(max(quality + step, QUALITIES[0]), QUALITIES[1])
    return quality, slope


def _coarsest_within(picture: LossyPicture, most: int, size: Size) -> CodedPicture:
    """Return the finest uniform rate at its lowest quality that keeps the budget."""
    smallest = None
    for candidate in picture.smallest():
        coded = picture.code_candidate(candidate)
        found = size(coded)
        if found <= most:
            return coded
        smallest = found if smallest is None else min(smallest, found)
    raise UsageError(
        f"the smallest file of this photo has {smallest} bytes, more than the {most} that are allowed"
    )
