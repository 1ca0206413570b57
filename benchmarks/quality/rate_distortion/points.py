"""Points of a rate-distortion curve, and the file that keeps them between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .codecs import Codec, cpu_seconds
from .metrics import measure

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Key:
    """What a point depends on: the picture, the codec with its options and version, and the quality."""

    picture: str
    codec: str
    version: str
    quality: float


@dataclass(frozen=True)
class Point:
    """One file: its size, CPU seconds of all threads and child processes, and the quality of its picture."""

    key: Key
    pixels: int
    bytes: int
    encode_s: float
    decode_s: float
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return 8 * self.bytes / self.pixels


class PointFile:
    """Keeps points in a file, one JSON object a line; each is written when it is measured.

    Several processes may append to one file. A torn last line is ignored.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._points: dict[Key, Point] = {}
        if path is not None and path.is_file():
            self._points = {point.key: point for point in _read(path)}

    def find(self, key: Key) -> Point | None:
        """Return the point of that key, or None."""
        return self._points.get(key)

    def add(self, point: Point) -> None:
        """Keep a point, in place of one with the same key."""
        self._points[point.key] = point
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(asdict(point)) + "\n").encode()
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def digest(picture: Picture) -> str:
    """Return a digest of the size and samples of a picture."""
    shape = "x".join(map(str, picture.shape)).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(picture).data).hexdigest()[:16]


def point_of(photo: Picture, key: Key, codec: Codec, kept: Point | None, names: Collection[str]) -> Point:
    """Return the point of `key` with at least the metrics `names`; those of `kept` are not measured again."""
    known = dict(kept.metrics) if kept is not None else {}
    missing = [name for name in names if name not in known]
    if kept is not None and not missing:
        return kept
    data, encode_s = codec.encode(photo, key.quality)
    start = cpu_seconds()
    decoded = codec.decode(data)
    decode_s = cpu_seconds() - start
    metrics = known | measure(photo, decoded, missing)
    pixels = photo.shape[0] * photo.shape[1]
    return Point(key, pixels, len(data), round(encode_s, 4), round(decode_s, 4), metrics)


def curve(
    photo: Picture, codec: Codec, points: PointFile, names: Collection[str] | None = None
) -> list[Point]:
    """Return the points of a codec on one photo, ascending in quality; `names` limits the metrics.

    From the middle of `codec.qualities` both directions are followed until a point lies outside
    `codec.lowest` … `codec.highest` bits per pixel.
    """
    middle = len(codec.qualities) // 2
    upward, downward = codec.qualities[middle:], codec.qualities[: middle + 1][::-1]
    found: dict[float, Point] = {}
    for qualities, is_outside in (
        (upward, lambda point: point.bpp > codec.highest),
        (downward, lambda point: point.bpp < codec.lowest),
    ):
        for quality in qualities:
            if quality not in found:
                [found[quality]] = at_qualities(photo, codec, points, [quality], names)
            if is_outside(found[quality]):
                break
    return [found[quality] for quality in sorted(found)]


def at_qualities(
    photo: Picture,
    codec: Codec,
    points: PointFile,
    qualities: Collection[float],
    names: Collection[str] | None = None,
) -> list[Point]:
    """Return the points at these qualities, from the file or measured now and kept there."""
    picture = digest(photo)
    wanted = [name for name in codec.metrics if names is None or name in names]
    found = []
    for quality in qualities:
        key = Key(picture, codec.name, codec.version, float(quality))
        kept = points.find(key)
        found.append(point_of(photo, key, codec, kept, wanted))
        if found[-1] is not kept:
            points.add(found[-1])
    return found


def _read(path: Path) -> Iterator[Point]:
    for line in path.read_text().splitlines():
        try:
            fields = json.loads(line)
            yield Point(**(fields | {"key": Key(**fields["key"])}))
        except (ValueError, TypeError, KeyError):
            continue
