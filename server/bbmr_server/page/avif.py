"""AVIF at its strongest within a number of bytes: the highest quality that fits, of fewer pixels where that is closer.

In: a photo as `uint8 [H, W, 3]` and the bytes it may take. Out: the file, and what it shows at the photo's size.
"""

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
"""From here on AVIF gains from more pixels: below it, fewer pixels at a higher quality may be closer to the photo."""

SPEED, SPEED_LARGE, LARGE = 8, 10, 2 << 20
"""Of libavif; pictures with more pixels than the last are coded at the second, which takes a quarter of the time and
10 % more bytes."""


@dataclass(frozen=True)
class Avif:
    """A file whose sides are 1/`scale` of the photo's, and its `picture`, bicubic where it had to be scaled up."""

    scale: int
    quality: int
    speed: int
    data: bytes = field(repr=False)
    picture: Picture = field(repr=False)


def avif_within(photo: Picture, size: int, cancelled: IsCancelled) -> Avif | None:
    """The AVIF of at most `size` bytes that is closest to the photo (PSNR over RGB); None where none fits.

    The photo as it is goes first. It is scaled down where no quality fits, and for as long as a low one gains by it.
    Each size costs a quarter of the one before, or as much where the speed changes; all of them 2.4 times the first.

    Raises:
        WorkCancelledError: as soon as `cancelled()` is true.
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
    """`picture` at `size` (width, height), bicubic; itself where it has that size."""
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
    best: tuple[int, bytes] | None = None
    low, high = 0, 100
    while low <= high:
        check_cancelled(cancelled)
        middle = (low + high) // 2
        _, data = encode_plane(small, "avif", quality=middle, speed=speed)
        if len(data) <= size:
            best, low = (middle, data), middle + 1
        else:
            high = middle - 1
    if best is None:
        return None
    check_cancelled(cancelled)
    quality, data = best
    return Avif(scale, quality, speed, data, resized(decode(data, "avif", small_size), (width, height)))
