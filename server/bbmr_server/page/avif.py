"""Finds the best AVIF of a photo within a number of bytes: what a container of these bytes is compared with.

Fast trials on a sample of the photo choose its size, its chroma format and a first quality. The quality is settled by
encodes of the whole photo, mostly one or two.
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
"""Encodes of the whole photo, if one of them fits."""

_TRIAL_SPEED = 10
_TRIAL_FACTOR = 0.95
"""Bytes at `SPEED`, per byte at the speed of the trials, before it is known better."""
_BOXES = 300
"""Bytes of an AVIF file beside its samples."""
_SLOPE = 0.036
"""Growth of the logarithm of the bytes per step of quality."""
_DECIBELS = 6.0
"""Growth of the PSNR per step of the logarithm of the bytes."""
_PLAUSIBLE = 0.15
"""The logarithms of two factors of one photo and format differ by less."""
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
    """The samples of this photo at full size, coded at `quality` and `SPEED`, have so many bytes."""

    quality: int
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
        known: saves an encode.

    Raises:
        WorkCancelledError as soon as `cancelled()` is true.
    """
    for trials in _candidates(photo, size, start, cancelled):
        found = _settled(photo, trials, size, start, known if trials.scale == 1 else None, cancelled)
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
        self._fixed = _BOXES + len(photo.icc)
        self._files: dict[int, tuple[str, bytes]] = {}

    def expected(self, quality: int, factor: float = _TRIAL_FACTOR) -> float:
        """Returns the bytes that the file of the whole photo is expected to have."""
        return self._fixed + factor * len(self._file(quality)[1]) / self._share

    def factor(self, quality: int, found: int) -> float:
        """Returns the factor with which `expected` is `found` at this quality."""
        return max(0.5, found - self._fixed) * self._share / len(self._file(quality)[1])

    def closeness(self, quality: int, size: int) -> float:
        """Returns the PSNR that is expected with `size` bytes, from that at a quality near it."""
        codec, data = self._file(quality)
        back = decode(data, codec, (self._small.shape[1], self._small.shape[0]))
        psnr = psnr_rgb(self._sample, resized(back, (self._sample.shape[1], self._sample.shape[0])))
        return psnr + _DECIBELS * math.log(size / self.expected(quality))

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


def _candidates(photo: Photo, size: int, start: int, cancelled: IsCancelled) -> list[_Trials]:
    """Returns the scale and chroma format that are expected to be closest, then coarser scales in case none fits."""
    sample = sample_rows(photo.rgb)
    formats = ("4:0:0",) if photo.grey else ("4:2:0", "4:4:4")
    best, closest = None, -math.inf
    plain: list[_Trials] = []
    for scale in SCALES:
        if max(_scaled(photo.rgb, scale)) > AVIF_MAX_SIDE:
            continue
        trials = [_Trials(sample, photo, scale, name, cancelled) for name in formats]
        plain.append(trials[0])
        fitting = [
            (one, quality) for one in trials if (quality := _highest(one.expected, size, start)) is not None
        ]
        if not fitting:
            continue
        value, one, quality = max(
            ((one.closeness(quality, size), one, quality) for one, quality in fitting),
            key=lambda entry: entry[0],
        )
        if value <= closest:
            break
        best, closest = one, value
        if quality >= LOW_QUALITY:
            break
    coarser = [one for one in plain if best is None or one.scale > best.scale]
    return [
        *([] if best is None else [best]),
        *(one for one in coarser if one.expected(0) <= _HOPELESS * size),
    ]


def _settled(
    photo: Photo, trials: _Trials, size: int, start: int, known: Known | None, cancelled: IsCancelled
) -> Avif | None:
    """Returns the file of the highest quality that fits at this scale, or None if there is none."""
    picture = resized(photo.rgb, _scaled(photo.rgb, trials.scale))
    factor = _TRIAL_FACTOR
    if known is not None:
        measured = trials.factor(known.quality, known.bytes + _BOXES + len(photo.icc))
        if abs(math.log(measured / factor)) <= _PLAUSIBLE:  # else it has another chroma format
            factor = measured
    best: tuple[int, bytes] | None = None
    larger: bytes | None = None
    low, high, encodes = -1, 101, 0
    while True:
        expected = _highest(partial(trials.expected, factor=factor), size, start)
        lowest = low + 1 if best is None else trials.next_step(low)
        quality = min(max(expected if expected is not None else 0, lowest), high - 1)
        check_cancelled(cancelled)
        data = _file(picture, photo, quality, trials.subsampling)
        encodes += 1
        factor = trials.factor(quality, len(data))
        if len(data) <= size:
            low, best = quality, (quality, data)
        else:
            high, larger = quality, data
        if high == 0:
            return None
        if best is not None and (
            encodes >= ENCODES or len(best[1]) >= _FULL * size or trials.next_step(low) >= high
        ):
            break
    check_cancelled(cancelled)
    quality, data = best
    return Avif(
        trials.scale,
        quality,
        trials.subsampling,
        encodes,
        data,
        picture_of(data, trials.scale, photo.rgb),
        larger if high <= trials.next_step(low) else None,
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


def _file(picture: Picture, photo: Photo, quality: int, subsampling: str) -> bytes:
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
