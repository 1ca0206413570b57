"""Finds the best AVIF of a photo (`uint8 [H, W, 3]`) within a number of bytes, scaled down if that is closer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_server.encode_queue import IsCancelled, check_cancelled
from bbmr_shared.images.codecs import decode, encode_plane
from bbmr_shared.limits import AVIF_MAX_SIDE
from bbmr_shared.metrics import psnr_rgb

Picture = NDArray[np.uint8]

SCALES = (1, 2, 4, 8)
LOW_QUALITY = 30
"""Below this quality, fewer pixels at a higher quality may be closer to the photo."""

SPEED, SPEED_LARGE, LARGE = 8, 10, 2 << 20
"""Speeds of libavif. Pictures of more than LARGE pixels use SPEED_LARGE: a quarter of the time, 10 % more bytes."""


@dataclass(frozen=True)
class Avif:
    """An AVIF file with sides of 1/`scale` of the photo's, and its `picture` at the photo's size (bicubic)."""

    scale: int
    quality: int
    speed: int
    data: bytes = field(repr=False)
    picture: Picture = field(repr=False)


def avif_within(photo: Picture, size: int, cancelled: IsCancelled) -> Avif | None:
    """Returns the AVIF of at most `size` bytes that is closest to the photo (PSNR over RGB), or None if none fits.

    The photo is first tried at full size. It is scaled down while no quality fits, and while the quality is low and
    scaling down improves the PSNR. All scales together take 2.4 times as long as the first.

    Raises:
        WorkCancelledError as soon as `cancelled()` is true.
    """
    best, best_psnr = None, -np.inf
    for scale in SCALES:
        found = _at_scale(photo, scale, size, cancelled)
        if found is None:
            continue
        psnr = psnr_rgb(photo, found.picture)
        if psnr <= best_psnr:
            break
        best, best_psnr = found, psnr
        if found.quality >= LOW_QUALITY:
            break
    return best


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Returns `picture` scaled to `size` (width, height), bicubic."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _at_scale(photo: Picture, scale: int, size: int, cancelled: IsCancelled) -> Avif | None:
    height, width = photo.shape[:2]
    small_size = max(1, round(width / scale)), max(1, round(height / scale))
    if max(small_size) > AVIF_MAX_SIDE:
        return None
    check_cancelled(cancelled)
    small = resized(photo, small_size)
    speed = SPEED if small.shape[0] * small.shape[1] <= LARGE else SPEED_LARGE
    best = _highest_quality(small, size, speed, cancelled)
    if best is None:
        return None
    check_cancelled(cancelled)
    quality, data = best
    return Avif(scale, quality, speed, data, resized(decode(data, "avif", small_size), (width, height)))


def _highest_quality(
    picture: Picture, size: int, speed: int, cancelled: IsCancelled
) -> tuple[int, bytes] | None:
    """Returns the highest quality whose file has at most `size` bytes, and the file; None if there is none."""
    best: tuple[int, bytes] | None = None
    low, high = 0, 100
    while low <= high:
        check_cancelled(cancelled)
        middle = (low + high) // 2
        _, data = encode_plane(picture, "avif", quality=middle, speed=speed)
        if len(data) <= size:
            best, low = (middle, data), middle + 1
        else:
            high = middle - 1
    return best
