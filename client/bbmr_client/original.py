"""The source file as a plane: a photo that is already smaller than its container would be stays as it is.

In: a photo and what of its metadata is kept. Out: the plane that is the file itself, byte for byte, or the reason
why there is none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.codecs import check_plane, decode
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import BbmrError
from bbmr_shared.limits import DEFAULT_LIMITS

from .segments import END_OF_JPEG, avif_items, jpeg_segments, png_chunks, webp_chunks

if TYPE_CHECKING:
    from .photo import Photo

CODECS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
"""Pillow's format → the codec whose plane such a file can be."""

_BARE: dict[str, set[int | bytes]] = {
    "jpeg": {0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA, 0xCC, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE},
    "png": {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT"},
    "webp": {b"VP8X", b"VP8 ", b"VP8L"},
    "avif": {b"av01", b"grid"},
}
"""What a file of that codec consists of where it carries nothing but a picture."""

_ICC: dict[str, int | bytes] = {"jpeg": 0xE2, "png": b"iCCP", "webp": b"ICCP"}


@dataclass(frozen=True)
class SourceFile:
    """The file a photo was read from. `obstacle`: why its picture is not the photo as it is, None where it is."""

    data: bytes = field(repr=False)
    codec: str | None
    obstacle: str | None = None


def smaller(photo: Photo, container: Container, metadata: str = "all") -> Container:
    """`container`, or one that carries the file of `photo` as it is where that has fewer bytes."""
    plane = original_plane(photo.source, (photo.width, photo.height), metadata, photo.icc is not None)
    if isinstance(plane, str):
        return container
    kept = replace(
        container,
        rate_map=np.ones_like(container.rate_map),
        planes=(plane,),
        strength=0,
        strength_map=None,
        model=None,
        original=True,
    )
    if len(kept.to_bytes()) >= len(container.to_bytes()) or not _shows(plane, photo.rgb):
        return container
    return kept


def notes(photo: Photo, container: Container, size: int, metadata: str = "all") -> tuple[str, ...]:
    """Why the file of `photo`, smaller than the `size` bytes of its container, was not kept; empty where it was.

    For encodings with `keep_smaller`; the arguments are those of `smaller`.
    """
    if container.original or photo.source is None or len(photo.source.data) >= size:
        return ()
    plane = original_plane(photo.source, (photo.width, photo.height), metadata, photo.icc is not None)
    why = plane if isinstance(plane, str) else "a container with it would not be smaller"
    return (f"the photo's file has only {len(photo.source.data)} bytes and is not kept: {why}",)


def original_plane(source: SourceFile | None, size: tuple[int, int], metadata: str, icc: bool) -> Plane | str:
    """The plane that is the source file, or in words why it cannot be kept.

    Args:
        source: the file, where the photo comes from one.
        size: (width, height) of the photo.
        metadata: "all", "icc" or "none": a file that carries more than that is not kept.
        icc: the photo has an ICC profile, which the file then carries too.
    """
    if source is None:
        return "it was not read from a file"
    if source.obstacle is not None:
        return source.obstacle
    if source.codec is None:
        return "its format is not one that planes have"
    if len(source.data) > DEFAULT_LIMITS.max_plane_bytes:
        return "it is too large for a plane"
    try:
        check_plane(source.data, source.codec, size)
    except BbmrError as error:
        return str(error)
    if metadata != "all" and not _is_bare(source.data, source.codec, icc and metadata == "icc"):
        return f"it carries more than metadata={metadata} allows"
    if metadata == "none" and icc:
        return "its colours are brought to sRGB"
    return Plane(1, source.codec, source.data)


def _shows(plane: Plane, rgb: NDArray[np.uint8]) -> bool:
    """Whether readers of the container will see the photo: they open less than `load_photo` does."""
    try:
        return np.array_equal(decode(plane.data, plane.codec, (rgb.shape[1], rgb.shape[0])), rgb)
    except BbmrError:
        return False


def _is_bare(data: bytes, codec: str, icc: bool) -> bool:
    """Whether a file consists of a picture alone, and of a profile where that is allowed."""
    allowed = set(_BARE[codec])
    if icc and codec in _ICC:
        allowed.add(_ICC[codec])
    try:
        return all(part in allowed for part in _parts(data, codec))
    except struct.error:
        return False


def _parts(data: bytes, codec: str) -> Iterator[int | bytes]:
    if codec == "jpeg":
        for marker, where in jpeg_segments(data):
            last = marker == END_OF_JPEG and where.stop - where.start == 2
            if not last:
                yield marker
    else:
        walk = {"png": png_chunks, "webp": webp_chunks, "avif": avif_items}[codec]
        yield from (kind for kind, _ in walk(data))
