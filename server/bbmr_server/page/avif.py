"""Finds the best AVIF of a photo within a number of bytes: what a container of these bytes is compared with.

Fast trials on a sample of the photo choose its size, its chroma format and a first quality. The quality is settled by
encodes of the whole photo, mostly two: one that fits, and the next quality, which does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.encoding.survey import sample_rows
from bbmr_server.encode_queue import IsCancelled, check_cancelled
from bbmr_shared.images.codecs import CODECS, CodecOptions, decode, encode_plane
from bbmr_shared.limits import AVIF_MAX_SIDE
from bbmr_shared.metrics import psnr_rgb

Picture = NDArray[np.uint8]

SPEED, TUNE = 6, "psnr"
"""Of the AVIF files. This tune has the highest PSNR at equal bytes."""
SCALES = (1, 2, 4, 8)
LOW_QUALITY = 30
"""Below this quality, fewer pixels at a higher quality may be closer to the photo."""
ENCODES = 3
"""Encodes of the whole photo; more only while none fits."""

_TRIAL_SPEED = 10
_FACTOR = 1.0
"""Bytes of the photo at `SPEED`, per byte that the trials of the sample let expect, before it is known better. Photos
have 0.7 to 1.3, each at all qualities within some percent the same."""
_BOXES = 300
"""Bytes of an AVIF file beside its samples."""
_SLOPE = 0.036
"""Growth of the logarithm of the bytes per step of quality."""
_DECIBELS = 6.0
"""Growth of the PSNR per step of the logarithm of the bytes."""
_HOPELESS = 1.2
"""A scale at which even the lowest quality is expected to have so many times the allowed bytes is not tried."""
_FULL = 0.995
"""A file of this share of the allowed bytes counts as one of all of them."""


@dataclass(frozen=True)
class Photo:
    """What is to be coded: `uint8 [H, W, 3]`, whether it is coded as grey, its ICC profile (empty: none)."""

    rgb: Picture
    grey: bool = False
    icc: bytes = b""


@dataclass(frozen=True)
class Known:
    """The photo at 1/`scale` of its sides, coded so at `SPEED`, has so many bytes (without boxes and profile)."""

    scale: int
    quality: int
    subsampling: str
    bytes: int


@dataclass(frozen=True)
class Avif:
    """An AVIF file with sides of 1/`scale` of the photo's, and its `picture` at the photo's size (bicubic).

    `encodes` says how often the whole photo was encoded to find it. Qualities come in steps of about 5 % of the bytes:
    `larger` is the file of the next step, if this one leaves bytes unused and the next one is known.
    """

    scale: int
    quality: int
    subsampling: str
    encodes: int
    data: bytes = field(repr=False)
    picture: Picture = field(repr=False)
    larger: bytes | None = field(default=None, repr=False)


def avif_within(
    photo: Photo, size: int, cancelled: IsCancelled, start: int = 50, known: Known | None = None
) -> Avif | None:
    """Returns the AVIF of at most `size` bytes that is closest to the photo (PSNR over RGB), or None if none fits.

    The photo is scaled down where no quality fits, and where the quality is low and scaling down improves the PSNR.

    Args:
        photo: the photo.
        size: bytes of the whole file, the ICC profile included.
        start: a quality that is near the result.
        known: makes the first quality more accurate.

    Raises:
        WorkCancelledError as soon as `cancelled()` is true.
    """
    sample = sample_rows(photo.rgb)
    factor = _FACTOR
    if known is not None:
        trials = _Trials(sample, photo, known.scale, known.subsampling, cancelled)
        factor = trials.factor(known.quality, known.bytes + trials.fixed)
    for trials in _candidates(photo, sample, factor, size, start, cancelled):
        found = _settled(photo, trials, factor, size, start, cancelled)
        if found is not None:
            return found
    return None


def picture_of(data: bytes, scale: int, photo: Picture) -> Picture:
    """Returns what an AVIF file of this photo shows at the photo's size."""
    return resized(decode(data, "avif", _scaled(photo, scale)), (photo.shape[1], photo.shape[0]))


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Returns `picture` scaled to `size` (width, height), bicubic."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


class _Trials:
    """Fast encodes of a sample of the photo at one scale with one chroma format; each is made once."""

    def __init__(
        self, sample: Picture, photo: Photo, scale: int, subsampling: str, cancelled: IsCancelled
    ) -> None:
        self.scale, self.subsampling = scale, subsampling
        self._sample, self._cancelled = sample, cancelled
        self._small = resized(sample, _scaled(sample, scale))
        self._coded = self._small[..., 0] if photo.grey else self._small
        self._share = sample.shape[0] / photo.rgb.shape[0]
        self.fixed = _BOXES + len(photo.icc)
        self._files: dict[int, tuple[str, bytes]] = {}

    def expected(self, quality: int, factor: float) -> float:
        """Returns the bytes that the file of the whole photo is expected to have."""
        return self.fixed + factor * len(self._file(quality)[1]) / self._share

    def factor(self, quality: int, found: int) -> float:
        """Returns the factor with which `expected` is `found` at this quality."""
        return max(0.5, found - self.fixed) * self._share / len(self._file(quality)[1])

    def closeness(self, quality: int, factor: float, size: int) -> float:
        """Returns the PSNR that is expected with `size` bytes, from that at a quality near it."""
        codec, data = self._file(quality)
        back = decode(data, codec, (self._small.shape[1], self._small.shape[0]))
        psnr = psnr_rgb(self._sample, resized(back, (self._sample.shape[1], self._sample.shape[0])))
        return psnr + _DECIBELS * math.log(size / self.expected(quality, factor))

    def next_step(self, quality: int) -> int:
        """Returns the lowest quality above this one that has another file; 101 if there is none."""
        found = quality + 1
        while found <= 100 and len(self._file(found)[1]) == len(self._file(quality)[1]):
            found += 1
        return found

    def _file(self, quality: int) -> tuple[str, bytes]:
        if quality not in self._files:
            check_cancelled(self._cancelled)
            self._files[quality] = encode_plane(
                self._coded,
                "av1",
                quality=quality,
                subsampling=self.subsampling,
                speed=_TRIAL_SPEED,
                tune=TUNE,
            )
        return self._files[quality]


def _candidates(
    photo: Photo, sample: Picture, factor: float, size: int, start: int, cancelled: IsCancelled
) -> list[_Trials]:
    """Returns the scale and chroma format that are expected to be closest, then coarser scales in case none fits."""
    formats = ("4:0:0",) if photo.grey else ("4:2:0", "4:4:4")
    best, closest = None, -math.inf
    plain: list[_Trials] = []
    for scale in SCALES:
        if max(_scaled(photo.rgb, scale)) > AVIF_MAX_SIDE:
            continue
        fitting: list[tuple[float, int, _Trials]] = []
        for name in formats:
            trials = _Trials(sample, photo, scale, name, cancelled)
            quality = _highest(partial(trials.expected, factor=factor), size, start)
            if quality is not None:
                fitting.append((trials.closeness(quality, factor, size), quality, trials))
            if name == formats[0]:
                plain.append(trials)
        if not fitting:
            continue
        value, quality, trials = max(fitting, key=lambda entry: entry[0])
        if value <= closest:
            break
        best, closest = trials, value
        if quality >= LOW_QUALITY:
            break
    hopeful = [
        one
        for one in plain
        if (best is None or one.scale > best.scale) and one.expected(0, factor) <= _HOPELESS * size
    ]
    return hopeful if best is None else [best, *hopeful]


def _settled(
    photo: Photo, trials: _Trials, factor: float, size: int, start: int, cancelled: IsCancelled
) -> Avif | None:
    """Returns the file of the highest quality that fits at this scale, or None if there is none."""
    picture = resized(photo.rgb, _scaled(photo.rgb, trials.scale))
    files: dict[int, bytes] = {}
    low, high = -1, 101
    while True:
        expected = _highest(partial(trials.expected, factor=factor), size, start)
        lowest = 0 if low < 0 else trials.next_step(low)
        quality = min(max(expected or 0, lowest), high - 1)
        check_cancelled(cancelled)
        files[quality] = _file(picture, photo, trials.subsampling, quality)
        factor = trials.factor(quality, len(files[quality]))
        if len(files[quality]) <= size:
            low = quality
        else:
            high = quality
        if high == 0:
            return None
        settled = low >= 0 and (high <= trials.next_step(low) or len(files[low]) >= _FULL * size)
        if settled or (low >= 0 and len(files) >= ENCODES):
            break
    check_cancelled(cancelled)
    unused = len(files[low]) < _FULL * size and high <= trials.next_step(low)
    return Avif(
        trials.scale,
        low,
        trials.subsampling,
        len(files),
        files[low],
        picture_of(files[low], trials.scale, photo.rgb),
        files.get(high) if unused else None,
    )


def _highest(bytes_at: Callable[[int], float], size: int, start: int) -> int | None:
    """Returns the highest quality with at most `size` bytes, or None if there is none."""
    low, high, quality = -1, 101, start
    while high - low > 1:
        found = bytes_at(quality)
        if found <= size:
            low = quality
        else:
            high = quality
        quality = min(max(quality + round(math.log(size / found) / _SLOPE), low + 1), high - 1)
    return low if low >= 0 else None


def _file(picture: Picture, photo: Photo, subsampling: str, quality: int) -> bytes:
    image = Image.fromarray(picture[..., 0] if photo.grey else picture)
    if photo.icc:
        image.info["icc_profile"] = photo.icc
    write = CODECS["avif"].write
    assert write is not None
    return write(image, CodecOptions(quality, subsampling, SPEED, tune=TUNE))[1]


def _scaled(picture: Picture, scale: int) -> tuple[int, int]:
    """Width and height of the picture at 1/`scale`."""
    height, width = picture.shape[:2]
    return max(1, round(width / scale)), max(1, round(height / scale))
